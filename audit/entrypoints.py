"""Entry points → reference models and reporters; nothing is imported until one is asked for."""

from __future__ import annotations

import functools
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from audit.errors import AuditError


@functools.cache
def zoo() -> dict[str, EntryPoint]:
    """Names of the reference models; nothing is imported until one is loaded."""
    return {entry.name: entry for entry in sorted(entry_points(group="audit.zoo"))}


@functools.cache
def reporters() -> dict[str, EntryPoint]:
    """Names of the report formats; nothing is imported until one is asked for.

    Raises:
        AuditError: two have one name.
    """
    found: dict[str, EntryPoint] = {}
    for entry in sorted(entry_points(group="audit.reporters")):
        if found.setdefault(entry.name, entry).value != entry.value:
            raise AuditError(
                f"Two reporters are called {entry.name}: {found[entry.name].value} and {entry.value}; "
                "uninstall or rename one."
            )
    return found


def reporter(name: str) -> Any:
    """A reporter by name.

    Raises:
        AuditError: none is installed by that name.
    """
    if name not in reporters():
        raise AuditError(f"There is no reporter {name!r}; there are {', '.join(reporters())}.")
    return reporters()[name].load()

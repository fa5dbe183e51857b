"""Entry points → reference models and reporters; nothing is imported until one is asked for."""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from audit.errors import AuditError


def spec_of(module: str) -> ModuleSpec | None:
    """Where a module lies, without importing what it lies in; None where it lies nowhere."""
    places: Sequence[str] | None = None
    spec: ModuleSpec | None = None
    parts = module.split(".")
    for depth in range(len(parts)):
        if depth and places is None:
            return None
        name = ".".join(parts[: depth + 1])
        finders = (getattr(finder, "find_spec", None) for finder in sys.meta_path)
        specs = (find(name, places) for find in finders if find is not None)
        spec = next((s for s in specs if s is not None), None)
        if spec is None:
            return None
        places = spec.submodule_search_locations
    return spec


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

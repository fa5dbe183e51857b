"""Tasks and input kinds: one file each, found by entry point, known by name before any is imported.

Ours are the modules of `audit.tasks` and `audit.inputs`. Others come by entry points of these groups,
which name a package, each of whose modules is a room called like the module, or a single module, which
is called like the entry point.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from audit.entrypoints import spec_of
from audit.errors import AuditError
from audit.foreign import told

TASKS, INPUTS = "audit.tasks", "audit.inputs"


@functools.cache
def rooms(group: str) -> dict[str, str]:
    """Name → module of every room of a group; none is imported.

    Raises:
        AuditError: two rooms have one name.
    """
    found: dict[str, str] = {}
    # Our own are the package that the group is called after, whatever an old installation has on file.
    own = EntryPoint("built in", group, group)
    for entry in (own, *sorted(entry_points(group=group), key=lambda e: (e.name, e.value))):
        for name, module in modules_of(entry).items():
            if found.get(name, module) != module:
                raise AuditError(
                    f"Two rooms of {group} are called {name}: {found[name]} and {module}; uninstall or "
                    "rename one."
                )
            found[name] = module
    return found


def modules_of(entry: EntryPoint) -> dict[str, str]:
    """Name → module of what an entry point offers; a package that cannot be found offers nothing."""
    spec = spec_of(entry.module)
    if spec is None or spec.submodule_search_locations is None:
        return {entry.name: entry.module}
    return {
        m.name: f"{entry.module}.{m.name}"
        for m in pkgutil.iter_modules(spec.submodule_search_locations)
        if not m.name.startswith("_")
    }


@functools.cache
def room(group: str, name: str) -> Any:
    """The task or input kind of a name.

    Raises:
        AuditError: there is none, or it cannot be imported.
    """
    known = rooms(group)
    if name not in known:
        raise AuditError(f"There is no {name!r} in {group}; there are {', '.join(sorted(known))}.")
    base = importlib.import_module(group)
    try:
        module = importlib.import_module(known[name])
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - a plug-in may raise anything
        raise AuditError(
            f"{known[name]} ({name!r} of {group}) cannot be imported: {told(error)}."
        ) from None
    found = [
        cls
        for _, cls in inspect.getmembers(module, inspect.isclass)
        if cls.__module__ == module.__name__
        and issubclass(cls, base.Room)
        and not inspect.isabstract(cls)
    ]
    if len(found) != 1:
        raise AuditError(
            f"{known[name]} must define one {base.Room.__name__}, and defines {len(found)}."
        )
    made: Any = found[0]()
    made.name = name
    return made

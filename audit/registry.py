"""Entry points → checks. The built-in ones arrive the same way as a third party's."""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from audit.checking import Check
from audit.errors import AuditError
from audit.foreign import told


@dataclass
class Registry:
    """All checks found, by id, and what went wrong while looking.

    Attributes:
        broken: name of a plug-in → what it raised when it was imported.
    """

    checks: dict[str, type[Check]] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)


@functools.cache
def registry() -> Registry:
    """Every check of every installed package that offers some.

    Raises:
        AuditError: two checks have one id.
    """
    found = Registry()
    for entry in sorted(entry_points(group="audit.checks"), key=lambda e: (e.name, e.value)):
        try:
            modules = modules_of(entry)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - a plug-in may raise anything
            found.broken[entry.name] = told(error)
            continue
        for module in modules:
            for _, cls in inspect.getmembers(module, inspect.isclass):
                if cls.__module__ != module.__name__ or not issubclass(cls, Check):
                    continue
                if inspect.isabstract(cls) or not getattr(cls, "id", None):
                    continue
                other = found.checks.get(cls.id)
                if other is not None and other is not cls:
                    raise AuditError(
                        f"Two checks have the id {cls.id}: {other.__module__} and "
                        f"{cls.__module__}; uninstall or rename one."
                    )
                found.checks[cls.id] = cls
    return found


def modules_of(entry: EntryPoint) -> list[Any]:
    """The package that an entry point names, and all modules in it."""
    root = entry.load()
    if not hasattr(root, "__path__"):
        return [root]
    names = [m.name for m in pkgutil.walk_packages(root.__path__, f"{root.__name__}.")]
    return [root, *(importlib.import_module(name) for name in names)]

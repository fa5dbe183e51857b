"""Entry points → checks. The built-in ones arrive the same way as a third party's."""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from typing import Any

from audit.checking import Check
from audit.errors import AuditError
from audit.foreign import told
from audit.manifest import installed, two_of
from audit.suspects import UNFIT, running


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
    for plug_in in installed():
        if plug_in.name in UNFIT:
            found.broken[plug_in.name] = UNFIT[plug_in.name]
            continue
        try:
            with running(plug_in.name):
                classes = checks_of(plug_in)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - a plug-in may raise anything
            found.broken[plug_in.name] = told(error)
            continue
        for cls in classes:
            other = found.checks.setdefault(cls.id, cls)
            if other is not cls:
                raise AuditError(two_of(cls.id, other.__module__, cls.__module__))
    return found


def checks_of(plug_in: EntryPoint) -> list[type[Check]]:
    """The checks that an entry point offers: those of a module, or of a package and all its modules.

    Raises:
        BaseException: whatever its code raises when it is imported.
    """
    return [
        cls
        for module in modules_of(plug_in)
        for _, cls in inspect.getmembers(module, inspect.isclass)
        if cls.__module__ == module.__name__
        and issubclass(cls, Check)
        and not inspect.isabstract(cls)
        and getattr(cls, "id", None)
    ]


def modules_of(plug_in: EntryPoint) -> list[Any]:
    """The package that an entry point names, and all modules in it."""
    root = plug_in.load()
    if not hasattr(root, "__path__"):
        return [root]
    names = [m.name for m in pkgutil.walk_packages(root.__path__, f"{root.__name__}.")]
    return [root, *(importlib.import_module(name) for name in names)]

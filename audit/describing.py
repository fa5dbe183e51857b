"""Checks → their manifest: `python -m audit.describing PACKAGE` writes it beside the package.

It holds what `audit checks` and `audit explain` tell, read off the classes, and what each check
requires of a subject, read off its `applies`.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import sys
import textwrap
from dataclasses import asdict
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from pydantic_core import to_jsonable_python

from audit.checking import PROFILES, Check
from audit.foreign import told
from audit.manifest import FILE, Entry, Parameter, order
from audit.registry import checks_of


def described(plug_in: EntryPoint) -> tuple[list[Entry], str]:
    """The checks of a plug-in, told of by importing it, and what it raised where it could not be."""
    try:
        return [entry_of(cls) for cls in checks_of(plug_in)], ""
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - a plug-in may raise anything
        return [], told(error)


def entry_of(cls: type[Check]) -> Entry:
    """What a manifest tells of a check."""
    return Entry(
        id=cls.id,
        area=cls.area(),
        kind=cls.kind,
        title=cls.title,
        found_at=f"{cls.__module__}:{cls.__qualname__}",
        explanation=cls.explanation(),
        needs=needs_of(cls),
        core=cls.core,
        least_profile=cls.least_profile,
        remedies=list(cls.remedies),
        explained_by=list(cls.explained_by),
        parameters=[
            Parameter(
                name,
                info.description or "",
                {p: plain(cls.profiles.get(p, {}).get(name, info.default)) for p in PROFILES},
            )
            for name, info in cls.model_fields.items()
        ],
    )


def plain(value: Any) -> Any:
    """A parameter's value as JSON has it; in words where JSON has no such thing."""
    return to_jsonable_python(value, fallback=repr)


def needs_of(cls: type[Check]) -> list[str]:
    """What the check asks of a subject with `subject.require…` before it measures anything.

    Conditions that are more than such a call are not told.
    """
    needs = {"data"} if cls.needs_data else set()
    for part in cls.__mro__:
        own = vars(part).get("applies")
        if own is None or part is Check:
            continue
        calls = [n for n in ast.walk(syntax_of(own)) if isinstance(n, ast.Call)]
        needs |= {need for call in calls for need in required(call)}
        if not any(ast.unparse(call.func) == "super().applies" for call in calls):
            break
    return sorted(needs)


def syntax_of(function: Any) -> ast.AST:
    """The syntax tree of a function; an empty one where its source is not there."""
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError):
        return ast.Module([], [])


def required(call: ast.Call) -> set[str]:
    """What one call of `subject.require…` asks for."""
    _, _, name = ast.unparse(call.func).rpartition(".")
    if name != "require":
        return {name.removeprefix("require_")} if name.startswith("require_") else set()
    found = {str(ast.literal_eval(part)) for part in call.args if isinstance(part, ast.Constant)}
    labels = not any(k.arg == "labels" and ast.unparse(k.value) == "False" for k in call.keywords)
    return found | {"data"} | ({"labels"} if labels else set())


def manifest_of(package: str) -> str:
    """The manifest of a package's checks, as its file holds it.

    Raises:
        Exception: whatever the package raises when it is imported.
    """
    found = checks_of(EntryPoint(package, package, "audit.checks"))
    checks = sorted((asdict(entry_of(cls)) for cls in found), key=lambda c: order(c["id"]))
    return json.dumps({"checks": checks}, indent=1, ensure_ascii=False) + "\n"


def place_of(package: str) -> Path:
    """Where a package's manifest stands: beside its modules."""
    return Path(importlib.import_module(package).__path__[0]) / FILE


if __name__ == "__main__":
    for package in sys.argv[1:]:
        place_of(package).write_text(manifest_of(package), encoding="utf-8")

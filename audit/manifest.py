"""What can be told of the checks without importing them: a file beside them, made from their code.

A package that offers checks may ship its own `manifest.json` (`python -m audit.describing PACKAGE`);
the checks of one that does not are imported to be told of.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from audit.entrypoints import spec_of
from audit.errors import AuditError

FILE = "manifest.json"

# The order in which a reader wants the areas, and in which evidence is best shared.
AREAS = (
    "performance",
    "generalisation",
    "calibration",
    "robustness",
    "fairness",
    "imbalance",
    "interpretability",
    "behaviour",
    "privacy",
    "data",
    "training",
    "deployment",
)


@dataclass(frozen=True)
class Parameter:
    """A field of a check that the config may set.

    Attributes:
        defaults: profile → the value where nothing else is asked for.
    """

    name: str
    description: str
    defaults: dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """A check, told without being imported.

    Attributes:
        area: the first part of its id.
        found_at: 'module:Class'.
        explanation: the docstring of its file.
        needs: what it requires of a subject, as 'labels', 'gradients' or a capability of the task.
        core, least_profile, remedies, explained_by: as `audit.Check` has them.
    """

    id: str
    area: str
    kind: str
    title: str
    found_at: str
    explanation: str
    needs: list[str]
    core: str
    least_profile: str
    remedies: list[str]
    explained_by: list[str]
    parameters: list[Parameter]


@dataclass
class Manifest:
    """All checks that are installed, by id, and what went wrong while looking.

    Attributes:
        broken: name of a plug-in → what it raised when it was imported.
    """

    checks: dict[str, Entry] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)


def manifest() -> Manifest:
    """Every check of every installed package that offers some.

    Raises:
        AuditError: two checks have one id.
    """
    found = Manifest()
    for plug_in in installed():
        entries = shipped(plug_in)
        if entries is None:
            # Only here: what is imported to be told of brings the numerical libraries with it.
            from audit.describing import described

            entries, failure = described(plug_in)
            if failure:
                found.broken[plug_in.name] = failure
        for entry in entries:
            other = found.checks.setdefault(entry.id, entry)
            if other.found_at != entry.found_at:
                raise AuditError(two_of(entry.id, other.found_at, entry.found_at))
    return found


def installed() -> list[EntryPoint]:
    """The packages and modules that offer checks, in the order of their names."""
    return sorted(entry_points(group="audit.checks"), key=lambda e: (e.name, e.value))


def shipped(plug_in: EntryPoint) -> list[Entry] | None:
    """The manifest beside a package; None without one that can be read."""
    spec = spec_of(plug_in.module)
    for folder in (spec and spec.submodule_search_locations) or ():
        try:
            return read((Path(folder) / FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError, TypeError, KeyError):
            continue
    return None


def read(text: str) -> list[Entry]:
    """The checks that a manifest tells of.

    Raises:
        ValueError, TypeError, KeyError: it is none, or one of another version.
    """
    return [
        Entry(**{**check, "parameters": [Parameter(**p) for p in check["parameters"]]})
        for check in json.loads(text)["checks"]
    ]


def order(check_id: str) -> tuple[int, str]:
    """The key by which a list of checks is sorted for a reader; foreign areas come last."""
    area = check_id.split(".")[0]
    return (AREAS.index(area) if area in AREAS else len(AREAS), check_id)


def known(check_id: str, ids: Iterable[str], place: str = "") -> str:
    """The id, where there is a check of it.

    Args:
        place: where it was given, for the sentence about a wrong one.

    Raises:
        AuditError: there is none; names the nearest.
    """
    ids = sorted(ids)
    if check_id in ids:
        return check_id
    near = difflib.get_close_matches(check_id, ids, 1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(ids)}."
    raise AuditError(f"{place}{': ' if place else ''}There is no check {check_id!r}; {hint}")


def two_of(check_id: str, first: str, second: str) -> str:
    """The sentence about two checks of one id."""
    return f"Two checks have the id {check_id}: {first} and {second}; uninstall or rename one."

"""Profile, selection and applicability → what is asked of a subject, in order."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from pydantic import ValidationError

from audit.checking import PROFILES, Check
from audit.errors import AuditError, NotApplicable, OtherTask
from audit.foreign import told
from audit.manifest import known, order
from audit.record import State, Why
from audit.registry import registry
from audit.subject import Subject
from audit.suspects import UNFIT, running


@dataclass(frozen=True)
class Planned:
    """A check, and why it will not run where it will not.

    Attributes:
        most: samples that it is given at most; None: as many as it asks for.
    """

    check: Check
    state: State | None = None
    why: Why = ""
    reason: str = ""
    most: int | None = None


def build_check(
    check_id: str,
    profile: str,
    parameters: Mapping[str, Any] | None = None,
    where: Callable[[str], str] = lambda _: "",
) -> Check:
    """A check with the parameters of a profile, overridden.

    Args:
        where: parameter → where it was given, for the sentence about a wrong one.

    Raises:
        AuditError: there is no such check, or it does not take these parameters.
    """
    cls = known_check(check_id, where(""))
    try:
        return cls(**{**cls.profiles.get(profile, {}), **(parameters or {})})
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        place = where(name)
        prefix = f"{place}: " if place else ""
        if first["type"] != "extra_forbidden":
            message = first["msg"].removeprefix("Value error, ")
            raise AuditError(f"{prefix}{check_id}: {name}: {message}.") from None
        fields = sorted(cls.model_fields)
        near = difflib.get_close_matches(name, fields, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(fields) or 'none'}."
        raise AuditError(f"{prefix}{check_id} has no parameter {name!r}; {hint}") from None


def known_check(check_id: str, place: str = "") -> type[Check]:
    """The check of an id.

    Raises:
        AuditError: there is none; names the nearest.
    """
    checks = registry().checks
    return checks[known(check_id, checks, place)]


def select(patterns: Sequence[str], flag: str) -> set[str]:
    """Ids that match any of the patterns.

    Raises:
        AuditError: a pattern matches nothing.
    """
    chosen: set[str] = set()
    ids = sorted(registry().checks)
    for pattern in patterns:
        matching = {
            i for i in ids if fnmatchcase(i, pattern) or i.startswith(pattern.rstrip(".") + ".")
        }
        if not matching:
            near = difflib.get_close_matches(pattern, ids, 1)
            hint = f"did you mean {near[0]}?" if near else "`audit checks` lists them."
            raise AuditError(f"{flag} {pattern} matches no check; {hint}")
        chosen |= matching
    return chosen


def plan(
    subject: Subject,
    *,
    profile: str = "standard",
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
    parameters: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[Planned]:
    """The selected checks in order, each with its fate; then the core questions not among them."""
    chosen = select(only, "--check") if only else set(registry().checks)
    dropped = select(skip, "--skip") if skip else set()
    planned = []
    for check_id in sorted(registry().checks, key=lambda i: (i not in chosen, order(i))):
        check = build_check(check_id, profile, (parameters or {}).get(check_id))
        if check_id not in chosen and not check.core:
            continue
        if check_id in dropped:
            planned.append(Planned(check, "untested", "skipped", "skipped by --skip or the config"))
            continue
        fate = applicability(check, subject)
        early = PROFILES.index(profile) < PROFILES.index(check.least_profile)
        if not fate.state and early and check_id not in only:
            reason = f"asked from profile {check.least_profile} on, or by its name"
            fate = Planned(check, "untested", "profile", reason)
        planned.append(fate)
    return planned


def applicability(check: Check, subject: Subject) -> Planned:
    """Whether a check applies to a subject, and why where it does not."""
    if check.id in UNFIT:
        return Planned(check, "broken", "raised", UNFIT[check.id])
    if check.needs_data and subject.n == 0:
        return Planned(check, "untested", "no_data", "no evaluation data are given")
    try:
        with running(check.id):
            check.applies(subject)
    except OtherTask as reason:
        return Planned(check, "untested", "other_task", str(reason))
    except NotApplicable as reason:
        return Planned(check, "untested", "not_applicable", str(reason))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - a plug-in may raise anything
        return Planned(check, "broken", "raised", told(error))
    return Planned(check)

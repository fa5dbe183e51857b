"""What decides: the user's expectations, waivers, the severity that gates."""

from __future__ import annotations

import datetime
from typing import Literal

from pydantic import Field, field_validator, model_validator

from audit.expecting import Expectation, same_slice
from audit.record import (
    SEVERITIES,
    Bound,
    CheckRecord,
    ExpectationResult,
    Part,
    PolicyRecord,
    Severity,
    Slice,
)

LONGEST_WAIVER = datetime.timedelta(days=366)
LEAST_TOLERANCE = 0.1
# An interval that may reach beyond its bound by this much at most says nothing.
WITHOUT_END = 1e3


class CheckExpectation(Expectation):
    """An expectation of the user's, `[[expect]]`, in place of the check's own on that metric and slice.

    What it asks for must be met: it tolerates nothing unless it says so.
    """

    check: str


class Waiver(Part):
    """A failure that somebody answers for, `[[waive]]`: printed every time, gating no more.

    It names a check, or the cause of a finding: then all that shows that weakness is waived.
    """

    check: str | None = None
    cause: str | None = None
    metric: str | None = None
    slice: Slice | None = None
    owner: str
    reason: str
    expires: datetime.date

    @field_validator("owner", "reason")
    @classmethod
    def _says_something(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("a waiver needs an owner and a reason; this one is blank")
        return value

    @field_validator("expires")
    @classmethod
    def _is_not_for_ever(cls, value: datetime.date) -> datetime.date:
        if value > datetime.date.today() + LONGEST_WAIVER:
            raise ValueError("a waiver holds for a year at most; give an earlier date")
        return value

    @model_validator(mode="after")
    def _names_something(self) -> Waiver:
        if self.check is None and self.cause is None:
            raise ValueError("a waiver names a check, or the cause of a finding")
        return self

    def covers(self, check: CheckRecord, result: ExpectationResult) -> bool:
        return (
            self.check in (None, check.id)
            and self.cause in (None, result.cause)
            and self.metric in (None, result.metric)
            and (self.slice is None or same_slice(result.slice, self.slice))
        )

    @property
    def what(self) -> str:
        return "/".join(part for part in (self.check, self.cause, self.metric) if part)


class Policy(Part):
    """What decides: expectations of the user's, waivers, the severity that gates."""

    fail_on: Severity = "high"
    on_inconclusive: Literal["block", "warn"] = "block"
    expect: list[CheckExpectation] = Field(default_factory=list)
    waive: list[Waiver] = Field(default_factory=list)

    @classmethod
    def of(cls, record: PolicyRecord) -> Policy:
        """The policy that a record was judged by."""
        return cls.model_validate(
            {
                "fail_on": record.fail_on,
                "on_inconclusive": record.on_inconclusive,
                "expect": record.expect,
                "waive": record.waivers,
            }
        )

    def gates(self, result: ExpectationResult | Expectation) -> bool:
        """Does this expectation decide the verdict? What is held against a baseline always does."""
        return result.gates and (
            (isinstance(result, ExpectationResult) and result.source == "baseline")
            or SEVERITIES.index(result.severity) >= SEVERITIES.index(self.fail_on)
        )


def above(op: str) -> bool:
    """Does the bound lie below what is right?"""
    return op in (">=", "not_shown_below")


def tolerance(expectation: Expectation, source: str, unit: str) -> float:
    """How far beyond its bound an undecided expectation may reach without blocking a pass."""
    if expectation.tolerates is not None:
        return expectation.tolerates
    if source == "config" or not expectation.op.startswith("not_shown"):
        return 0.0
    # .1 means something of a share; of seconds or euros only the bound itself says what is small.
    return max(abs(expectation.bound), 0.0 if unit else LEAST_TOLERANCE)


def expectations_for(
    check: CheckRecord, policy: Policy
) -> list[tuple[Expectation, Literal["default", "config"], Expectation | None]]:
    """The check's own expectations that stand, and the user's with what each replaces."""
    mine = [e for e in policy.expect if e.check == check.id]
    own = [Expectation.model_validate(d) for d in check.defaults]

    def taken(default: Expectation, by: Expectation) -> bool:
        return by.metric == default.metric and (
            same_slice(default.slice, by.slice) or same_slice(by.slice, default.slice)
        )

    kept = [e for e in own if not any(taken(e, m) for m in mine)]
    replaced = [
        (
            m,
            max(
                (e for e in own if taken(e, m)),
                default=None,
                key=lambda e: SEVERITIES.index(e.severity),
            ),
        )
        for m in mine
    ]
    return [(e, "default", None) for e in kept] + [(m, "config", e) for m, e in replaced]


def bound_of(default: Expectation, unit: str) -> Bound:
    """A check's own bound, as the record keeps it beside the one that took its place."""
    return Bound(
        op=default.op,
        bound=default.bound,
        severity=default.severity,
        tolerates=tolerance(default, "default", unit),
    )


def loosens(mine: Expectation, default: Bound, fail_on: Severity, tolerates: float) -> bool:
    """Does the user's expectation ask for less than the check's own?"""
    if above(mine.op) != above(default.op):
        return True
    weaker = mine.bound < default.bound if above(mine.op) else mine.bound > default.bound
    gate = SEVERITIES.index(fail_on)
    ungated = SEVERITIES.index(mine.severity) < gate <= SEVERITIES.index(default.severity)
    return weaker or ungated or not mine.gates or tolerates > default.tolerates

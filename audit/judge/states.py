"""A metric against a bound → one of five states, and why.

| state | when |
|---|---|
| met | the whole interval is on the right side of the bound |
| failed | the whole interval is on the wrong side |
| undecided | the interval straddles the bound, or rows are missing that could change the state |
| untested | nothing was measured that could be judged |
| broken | what was measured cannot be believed, or the check raised |

Over slices ("*"): failed at the level corrected for their number, met at the plain one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

from audit.expecting import Expectation, same_slice
from audit.judge.policy import WITHOUT_END, Policy, above, bound_of, loosens, tolerance
from audit.record import (
    Bound,
    CheckRecord,
    ExpectationResult,
    LeftOut,
    Metric,
    State,
    Why,
)
from audit.statistics import LEVEL, corrected_level, interval, wilson
from audit.words import number, slice_text

Interval = tuple[float, float]


@dataclass(frozen=True)
class Judged:
    """A state with what explains it."""

    state: State
    why: Why = ""
    reason: str = ""
    reach: float | None = None
    needed_n: int | None = None
    needed_of: str = ""


def judge_expectation(
    check: CheckRecord,
    expectation: Expectation,
    source: Literal["default", "config"],
    replaced: Expectation | None,
    policy: Policy,
    missing: list[LeftOut],
    n: int,
) -> list[tuple[ExpectationResult, Metric | None]]:
    """A result for each metric that the expectation is about; one where there is none.

    Args:
        missing: what belongs to the data and was not read. n: samples that were.
    """
    matching = [
        m
        for m in check.metrics
        if m.name == expectation.metric and same_slice(m.slice, expectation.slice)
    ]
    common: dict[str, Any] = {
        "metric": expectation.metric,
        "op": expectation.op,
        "bound": expectation.bound,
        "severity": expectation.severity,
        "gates": expectation.gates,
        "source": source,
    }
    if not matching:
        over = "*" in expectation.slice.values()
        if over and source == "default":
            return []  # there is no slice to expect anything of
        return [(unmeasured(common, check, expectation, over), None)]
    strict = corrected_level(len(matching))
    results: list[tuple[ExpectationResult, Metric | None]] = []
    for metric in matching:
        tolerates = tolerance(expectation, source, metric.unit)
        default = bound_of(replaced, metric.unit) if replaced is not None else None
        judged = judge_metric(metric, expectation, strict)
        if source == "config" and toothless(metric, expectation, default):
            judged = Judged(
                "untested",
                "cannot_fail",
                (
                    f"no value can violate the bound {number(expectation.bound)}; to accept the risk, "
                    "write a [[waive]] with owner, reason and expiry"
                ),
            )
        judged = lacking(metric, expectation, strict, judged, check, missing, n)
        judged = believed(check, metric, judged)
        results.append(
            (
                ExpectationResult(
                    **common,
                    slice=metric.slice,
                    tolerates=tolerates,
                    state=judged.state,
                    why=judged.why,
                    reason=judged.reason,
                    reach=judged.reach,
                    needed_n=judged.needed_n,
                    needed_of=judged.needed_of,
                    replaces=default,
                    loosened=default is not None
                    and loosens(expectation, default, policy.fail_on, tolerates),
                ),
                metric,
            )
        )
    return results


def unmeasured(
    common: dict[str, Any], check: CheckRecord, expectation: Expectation, over: bool
) -> ExpectationResult:
    """What was asked of a number that is not there."""
    there = sorted(
        {m.name + (f" ({slice_text(m.slice)})" if m.slice else "") for m in check.metrics}
    )[:8]
    return ExpectationResult(
        **common,
        slice=expectation.slice,
        state="untested",
        why="no_slice" if over else "no_such_metric",
        reason=f"no such metric was measured; there are {', '.join(there) or 'none'}",
    )


def judge_metric(metric: Metric, expectation: Expectation, strict: float) -> Judged:
    """On the interval alone."""
    if metric.value is None:
        return Judged("untested", "undefined", metric.reason or "the metric is undefined")
    shown = (metric.value, metric.low, metric.high)
    if metric.n < 0 or any(v is not None and not math.isfinite(v) for v in shown):
        return Judged("broken", "not_finite", "the metric is not a finite number of samples")
    plain = interval(metric)
    if plain is None:
        return Judged("broken", "no_interval", "the metric has no interval")
    return against(metric, plain, interval(metric, strict) or plain, expectation)


def against(
    metric: Metric, plain: Interval, corrected: Interval, expectation: Expectation
) -> Judged:
    """The state by the plain interval for 'met' and by the corrected one for 'failed'."""
    bound, higher = expectation.bound, above(expectation.op)
    if corrected[1] < bound if higher else corrected[0] > bound:
        return Judged("failed")
    if plain[0] >= bound if higher else plain[1] <= bound:
        return Judged("met")
    reach = bound - plain[0] if higher else plain[1] - bound
    counted = metric.limited_by.n if metric.limited_by else metric.n
    of = metric.limited_by.what if metric.limited_by else "samples"
    needed = needed_n(float(metric.value or 0.0), plain, bound, higher, counted)
    return Judged(
        "undecided", "straddles", straddling(counted, of, needed), max(0.0, reach), needed, of
    )


def needed_n(value: float, plain: Interval, bound: float, higher: bool, n: int) -> int | None:
    """About how many samples would decide it, if the estimate stays: intervals shrink with √n.

    None where the estimate lies on the bound: no number would.
    """
    right = value >= bound if higher else value <= bound
    end = plain[0] if higher == right else plain[1]
    if math.isclose(value, bound, abs_tol=1e-12) or n <= 0:
        return None
    needed = n * ((end - value) / (bound - value)) ** 2
    return max(n + 1, math.ceil(needed)) if needed < 1e9 else None


def straddling(n: int, of: str, needed: int | None) -> str:
    """Why an interval decides nothing, and how many samples would."""
    decides = (
        "no number of samples would decide it"
        if needed is None
        else (f"at least about {rounded(needed)} are needed")
    )
    return f"n = {n:,} ({of}) is too small to tell: the interval straddles the bound; {decides}"


def rounded(n: int) -> str:
    """Two digits of a number that is itself an estimate."""
    digits = max(0, len(str(n)) - 2)
    return f"{math.ceil(n / 10**digits) * 10**digits:,}"


def toothless(metric: Metric, expectation: Expectation, default: Bound | None) -> bool:
    """Can no value of the metric violate the bound?"""
    higher, bound = above(expectation.op), expectation.bound
    end = None if metric.edges is None else metric.edges[0 if higher else 1]
    if end is not None:
        return bound <= end if higher else bound >= end
    usual = max(1.0, abs(metric.value or 0.0), abs(default.bound) if default else 0.0)
    return (-bound if higher else bound) >= WITHOUT_END * usual


def lacking(
    metric: Metric,
    expectation: Expectation,
    strict: float,
    judged: Judged,
    check: CheckRecord,
    missing: list[LeftOut],
    n: int,
) -> Judged:
    """Undecided where rows, groups or files that belong to the number could change its state.

    What is undecided without them may reach further beyond its bound with them.
    """
    own = [o for o in check.left_out if o.how_many and (not o.metrics or metric.name in o.metrics)]
    unread = [o for o in missing if o.how_many] if check.needs_data else []
    if judged.state not in ("met", "failed", "undecided") or not own + unread:
        return judged
    if judged.state == "failed" and all(o.only_worse for o in own + unread):
        return judged
    if "successes" in metric.sufficient:
        k, size = metric.sufficient["successes"], metric.sufficient["n"]
        # A file that was not read is missing from every sample that was drawn, in proportion.
        lost = sum(o.how_many for o in own) + sum(o.how_many for o in unread) * size / max(n, 1)
        ends = [
            against(
                metric,
                wilson(k + gained, size + lost, LEVEL),
                wilson(k + gained, size + lost, strict),
                expectation,
            )
            for gained in (0.0, lost)
        ]
        if {end.state for end in ends} == {judged.state}:
            reach = [e.reach for e in (judged, *ends) if e.reach is not None]
            return replace(judged, reach=max(reach)) if reach else judged
    first = (own + unread)[0]
    return replace(
        judged,
        state="undecided",
        why="left_out",
        reason=f"{first.how_many:,} {first.what} are not in the number: {first.why}",
    )


def believed(check: CheckRecord, metric: Metric, judged: Judged) -> Judged:
    """Without evidence that the measurement was fair, nothing is concluded from it."""
    relevant = [v for v in check.validity if not v.metrics or metric.name in v.metrics]
    fails = [v.name for v in relevant if v.passed is False]
    absent = [v.detail or v.name for v in relevant if v.passed is None]
    if judged.state not in ("met", "failed", "undecided"):
        return judged
    if fails:
        doubts = "".join(
            f"{d}: "
            for d in dict.fromkeys(v.doubt for v in relevant if v.passed is False and v.doubt)
        )
        return Judged(
            "broken", "validity_failed", f"{doubts}the evidence for it fails: {', '.join(fails)}"
        )
    # What was broken is broken, however much is not known of the attack.
    if absent and judged.state != "failed":
        return Judged(
            "broken", "validity_missing", f"the evidence for it is missing: {'; '.join(absent)}"
        )
    return judged


WORST_FIRST: tuple[State, ...] = ("failed", "broken", "undecided", "untested", "met")


def state_of(check: CheckRecord) -> tuple[State, Why, str]:
    """The worst of its expectations'."""
    for state in WORST_FIRST:
        for e in check.expectations:
            if e.state == state:
                return state, e.why, e.reason if state not in ("met", "failed") else ""
    return "untested", "nothing_expected", "no bound was set for what it measures"

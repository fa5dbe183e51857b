"""Expectations, waivers and baseline → outcomes, findings and the verdict.

Judges records, never models: a record is judged again under another policy without running
anything.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from typing import Any, Literal

from pydantic import Field

from audit.checking import Expectation, same_slice
from audit.comparing import compare, metric_of
from audit.record import (
    SEVERITIES,
    AuditRecord,
    CheckRecord,
    ExpectationResult,
    Finding,
    Guidance,
    Metric,
    Outcome,
    Part,
    PolicyRecord,
    Severity,
    Slice,
    VerdictRecord,
    counts,
)
from audit.statistics import corrected_level, interval
from audit.words import number, share, slice_text, value_text

EXIT = {"pass": 0, "fail": 1, "inconclusive": 3}
ALPHA = 0.05


class CheckExpectation(Expectation):
    """An expectation of the user's, `[[expect]]`: it takes the place of the check's own bounds on
    that metric and slice.
    """

    check: str


class Waiver(Part):
    """A failure that somebody answers for, `[[waive]]`: printed every time, gating no more."""

    check: str
    metric: str | None = None
    slice: Slice | None = None
    owner: str = Field(min_length=1)
    reason: str = Field(min_length=1)
    expires: datetime.date


class Policy(Part):
    """What decides: expectations of the user's, waivers, the severity that gates, a baseline."""

    fail_on: Severity = "high"
    on_inconclusive: Literal["block", "warn"] = "block"
    expect: list[CheckExpectation] = Field(default_factory=list)
    waive: list[Waiver] = Field(default_factory=list)

    @classmethod
    def of(cls, record: PolicyRecord) -> Policy:
        """The policy that a record was judged by."""
        return cls.model_validate({
            "fail_on": record.fail_on, "on_inconclusive": record.on_inconclusive,
            "expect": record.expect, "waive": record.waivers,
        })  # fmt: skip


def gating(severity: Severity, fail_on: Severity) -> bool:
    return SEVERITIES.index(severity) >= SEVERITIES.index(fail_on)


def judge(
    record: AuditRecord,
    policy: Policy,
    *,
    baseline: AuditRecord | None = None,
    today: datetime.date | None = None,
) -> AuditRecord:
    """The same measurements under a policy.

    Returns:
        A new record: expectations, outcomes, findings and verdict judged; `record` is not changed.
    """
    record = record.model_copy(deep=True)
    today = today or datetime.date.today()
    notes: list[str] = []
    changes = compare(baseline, record) if baseline is not None else []
    used: set[int] = set()
    for check in record.checks:
        measured = check.outcome not in ("not_applicable", "skipped", "error")
        # What was held against a baseline stays so where none is given anew.
        held = [e for e in check.expectations if e.source == "baseline" and baseline is None]
        results: list[tuple[ExpectationResult, Metric | None]] = []
        if measured:
            for expectation, source in expectations_for(check, policy):
                results += judge_expectation(check, expectation, source)
            results += [(e, metric_of(check, e.metric, e.slice)) for e in held]
        elif check.outcome == "not_applicable":
            results += unmet(check, policy)
        mine = [c for c in changes if c.check == check.id]
        for change in mine:
            threshold = ALPHA / max(len(changes), 1)
            bad = change.worse and change.p < threshold
            pairing = "paired" if change.paired else "unpaired: no sample is shared"
            results.append((
                ExpectationResult(
                    metric=change.metric, slice=change.slice, op="not_worse_than_baseline",
                    bound=change.before, severity="high", source="baseline",
                    outcome="failed" if bad else "passed",
                    reason=f"{change.lost} lost and {change.gained} gained of {change.n} "
                    f"({pairing}, p = {number(change.p)})",
                ),
                metric_of(check, change.metric, change.slice),
            ))  # fmt: skip
        for result, _ in results:
            result.waived = ""
            for index, waiver in enumerate(policy.waive):
                if result.outcome in ("failed", "inconclusive") and covers(waiver, check, result):
                    used.add(index)
                    if waiver.expires >= today:
                        result.waived = (
                            f"waived by {waiver.owner} until {waiver.expires.isoformat()}: "
                            f"{waiver.reason}"
                        )
        check.expectations = [result for result, _ in results]
        check.findings = [
            finding(check, result, metric)
            for result, metric in results
            if result.outcome in ("failed", "inconclusive") and not outdone(result, check)
        ]
        if measured:
            check.outcome, check.reason = outcome_of(check)
    for index, waiver in enumerate(policy.waive):
        what = f"{waiver.check}{'/' + waiver.metric if waiver.metric else ''}"
        if waiver.expires < today:
            notes.append(
                f"The waiver on {what} by {waiver.owner} expired on {waiver.expires.isoformat()} "
                "and has no effect."
            )
        elif index not in used:
            notes.append(f"The waiver on {what} by {waiver.owner} matches nothing that failed.")
    for check in record.checks:
        if not speaks(check, record):
            check.findings = []
    known = {check.id for check in record.checks}
    for expected in policy.expect:
        if expected.check not in known:
            notes.append(
                f"An expectation names {expected.check}, which was not part of this audit."
            )
    record.policy = PolicyRecord(
        fail_on=policy.fail_on,
        on_inconclusive=policy.on_inconclusive,
        profile=record.policy.profile,
        expect=[e.model_dump(mode="json") for e in policy.expect],
        waivers=[w.model_dump(mode="json") for w in policy.waive],
        baseline=baseline.digest() if baseline is not None else record.policy.baseline,
    )
    record.verdict = verdict(record, policy, notes)
    return record


def speaks(check: CheckRecord, record: AuditRecord) -> bool:
    """A trial speaks where a check that it would mend has failed, or it broke; a question always.

    What does not speak is in the record, and told nowhere as an outcome of the audit.
    """
    measured = check.outcome in ("passed", "failed", "inconclusive")
    return check.kind == "question" or not measured or any(
        other.id in check.mends and other.outcome == "failed" for other in record.checks
    )


def unmet(
    check: CheckRecord, policy: Policy
) -> list[tuple[ExpectationResult, Metric | None]]:
    """What the user expects of a check that does not apply is not settled by its silence."""
    return [
        (
            ExpectationResult(
                **expectation.model_dump(exclude={"check"}), outcome="inconclusive", source="config",
                reason=f"the check does not apply: {check.reason}",
            ),
            None,
        )
        for expectation in policy.expect if expectation.check == check.id
    ]  # fmt: skip


def outdone(result: ExpectationResult, check: CheckRecord) -> bool:
    """Does a more severe expectation on the same number already say it?"""
    return any(
        other.metric == result.metric and other.slice == result.slice and other.op == result.op
        and other.outcome == result.outcome and other.waived == result.waived
        and SEVERITIES.index(other.severity) > SEVERITIES.index(result.severity)
        for other in check.expectations
    )  # fmt: skip


def covers(waiver: Waiver, check: CheckRecord, result: ExpectationResult) -> bool:
    return (
        waiver.check == check.id
        and waiver.metric in (None, result.metric)
        and (waiver.slice is None or same_slice(result.slice, waiver.slice))
    )


def expectations_for(
    check: CheckRecord, policy: Policy
) -> list[tuple[Expectation, Literal["default", "config"]]]:
    """The user's expectations on a check, and those of its own that they leave standing."""
    mine = [e for e in policy.expect if e.check == check.id]
    kept = [
        expectation
        for expectation in (Expectation.model_validate(d) for d in check.defaults)
        if not any(
            m.metric == expectation.metric and same_slice(expectation.slice, m.slice) for m in mine
        )
    ]
    return [(e, "default") for e in kept] + [(e, "config") for e in mine]


def judge_expectation(
    check: CheckRecord, expectation: Expectation, source: Literal["default", "config"]
) -> list[tuple[ExpectationResult, Metric | None]]:
    """Judge on the interval: all of it on one side, or inconclusive.

    Over slices (`"*"`): failed at the level corrected for their number, passed at the plain one.
    """
    matching = [
        m for m in check.metrics
        if m.name == expectation.metric and same_slice(m.slice, expectation.slice)
    ]  # fmt: skip
    common: dict[str, Any] = {
        "metric": expectation.metric, "op": expectation.op, "bound": expectation.bound,
        "severity": expectation.severity, "source": source,
    }  # fmt: skip
    if not matching:
        # A default over slices may find none; what the user asks for must be there.
        if source == "default" and "*" in expectation.slice.values():
            outcome, reason = "not_applicable", "no slice was measured"
        else:
            there = sorted(
                {m.name + (f" ({slice_text(m.slice)})" if m.slice else "") for m in check.metrics}
            )[:8]
            outcome = "inconclusive"
            reason = f"no such metric was measured; there are {', '.join(there)}"
        return [(ExpectationResult(**common, slice=expectation.slice, outcome=outcome,
                                   reason=reason), None)]  # fmt: skip
    strict = corrected_level(len(matching))
    results: list[tuple[ExpectationResult, Metric | None]] = []
    for metric in matching:
        outcome, reason = judge_metric(metric, expectation, strict)
        outcome, reason = weigh_validity(check, metric, expectation, outcome, reason)
        results.append((
            ExpectationResult(**common, slice=metric.slice, outcome=outcome, reason=reason), metric
        ))  # fmt: skip
    return results


JudgedOutcome = Literal["passed", "failed", "inconclusive", "not_applicable"]


def judge_metric(
    metric: Metric, expectation: Expectation, strict: float
) -> tuple[JudgedOutcome, str]:
    if metric.value is None:
        among_slices = "*" in expectation.slice.values()
        return ("not_applicable" if among_slices else "inconclusive"), metric.reason
    plain, corrected = interval(metric), interval(metric, strict)
    if plain is None:
        return "inconclusive", "the metric has no interval"
    corrected = corrected or plain
    above = expectation.op in (">=", "not_shown_below")
    wrong = corrected[1] < expectation.bound if above else corrected[0] > expectation.bound
    right = plain[0] >= expectation.bound if above else plain[1] <= expectation.bound
    if wrong:
        return "failed", ""
    if right:
        return "passed", ""
    if expectation.op in ("not_shown_below", "not_shown_above"):
        return "passed", f"n = {metric.n} is too small to tell: the interval straddles the bound"
    return "inconclusive", "the interval straddles the bound"


def weigh_validity(
    check: CheckRecord, metric: Metric, expectation: Expectation, outcome: JudgedOutcome,
    reason: str,
) -> tuple[JudgedOutcome, str]:  # fmt: skip
    """Without evidence that the measurement was fair, nothing is concluded from it."""
    relevant = [v for v in check.validity if not v.metrics or metric.name in v.metrics]
    broken = [v.name for v in relevant if v.passed is False]
    open_ = [v.detail or v.name for v in relevant if v.passed is None]
    if outcome in ("passed", "failed") and broken:
        doubts = "".join(f"{d}: " for d in dict.fromkeys(
            v.doubt for v in relevant if v.passed is False and v.doubt
        ))  # fmt: skip
        return "inconclusive", f"{doubts}the validity evidence fails: {', '.join(broken)}"
    if outcome == "passed" and open_ and gating(expectation.severity, "high"):
        return "inconclusive", f"the validity evidence is missing: {'; '.join(open_)}"
    return outcome, reason


def outcome_of(check: CheckRecord) -> tuple[Outcome, str]:
    outcomes = [e.outcome for e in check.expectations]
    if "failed" in outcomes:
        return "failed", ""
    if "inconclusive" in outcomes:
        first = next(e for e in check.expectations if e.outcome == "inconclusive")
        return "inconclusive", first.reason
    if "passed" in outcomes:
        return "passed", ""
    return "inconclusive", "nothing was expected of it that could be judged"


def fingerprint(check: str, result: ExpectationResult) -> str:
    """Stable between runs: what was expected of what, not what was measured."""
    parts = [check, result.metric, sorted(result.slice.items()), result.op, result.severity]
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:16]


OPERATOR_WORDS = {
    ">=": "at least", "<=": "at most", "not_shown_below": "not shown to be below",
    "not_shown_above": "not shown to be above", "not_worse_than_baseline": "no worse than",
}  # fmt: skip


def finding(check: CheckRecord, result: ExpectationResult, metric: Metric | None) -> Finding:
    """The expectation that was not met, in the check's words where it has some."""
    guidance = check.guidance.get(result.metric)
    where = f" for {slice_text(result.slice)}" if result.slice else ""
    shown = value_text(metric) if metric is not None else "nothing"
    plain = (
        f"{result.metric.replace('_', ' ')}{where} is {shown}; expected {OPERATOR_WORDS[result.op]} "
        f"{number(result.bound)}."
    )
    if guidance is None or result.source == "baseline" or metric is None:
        guidance = Guidance(
            title=f"{result.metric.replace('_', ' ').capitalize()} is not as expected{where}",
            what_happened=plain,
            why_it_matters="The policy of this audit asks for it.",
            what_to_do="See the check's section for what was measured.",
            tags=guidance.tags if guidance else [],
        )
        happened = plain
        if result.source == "baseline":
            guidance.title = f"Worse than the baseline: {check.title}"
            happened = f"{plain} Of the samples, {result.reason}."
    else:
        assert metric is not None
        # A share of samples reads best in percent.
        shown_as = share if "successes" in metric.sufficient else number
        words = {
            key: "undefined" if value is None else shown_as(value)
            for key, value in (("value", metric.value), ("low", metric.low),
                               ("high", metric.high), ("bound", result.bound))
        }  # fmt: skip
        words |= {"n": f"{metric.n:,}", "slice": slice_text(result.slice), **guidance.words}
        happened = fill(guidance.what_happened, words)
        guidance = guidance.model_copy(update={"title": fill(guidance.title, words)})
    title = guidance.title
    if result.outcome == "inconclusive":
        title = f"Not settled: {title[0].lower()}{title[1:]}?"
        happened = f"{happened} This settles nothing: {result.reason}."
    return Finding(
        fingerprint=fingerprint(check.id, result),
        severity=result.severity,
        outcome=result.outcome,  # type: ignore[arg-type]
        title=title,
        what_happened=happened,
        why_it_matters=guidance.why_it_matters,
        what_to_do=guidance.what_to_do,
        tags=guidance.tags,
        waived=result.waived,
    )


def fill(template: str, words: dict[str, str]) -> str:
    """Put words into a template; what came from outside may hold braces of its own."""
    for key, value in words.items():
        template = template.replace("{" + key + "}", value)
    return template


def verdict(record: AuditRecord, policy: Policy, notes: list[str]) -> VerdictRecord:
    """pass, fail or inconclusive, and the sentence that gives its reason."""
    judged = [
        (check, e) for check in record.checks for e in check.expectations
        if gating(e.severity, policy.fail_on)
    ]  # fmt: skip
    failed = [(c, e) for c, e in judged if e.outcome == "failed" and not e.waived]
    errors = [c for c in record.checks if c.outcome == "error"]
    unsettled = [(c, e) for c, e in judged if e.outcome == "inconclusive" and not e.waived]
    straddling = [(c, e) for c, e in unsettled if "straddles" in e.reason]
    other = [(c, e) for c, e in unsettled if "straddles" not in e.reason]
    passed = [(c, e) for c, e in judged if e.outcome == "passed"]
    level = f"severity {policy.fail_on} or above"
    if failed:
        word, plural = "fail", "s" if len(failed) > 1 else ""
        names = list(dict.fromkeys(c.id for c, _ in failed))
        reason = f"{len(failed)} expectation{plural} of {level} failed: {', '.join(names)}."
    elif errors:
        word = "inconclusive"
        reason = f"{', '.join(c.id for c in errors)} could not be run: {errors[0].reason}"
    elif other:
        word = "inconclusive"
        names = list(dict.fromkeys(c.id for c, _ in other))
        reason = f"The evidence does not carry a judgement on {', '.join(names)}: {other[0][1].reason}."
    elif straddling and policy.on_inconclusive == "block":
        word = "inconclusive"
        names = list(dict.fromkeys(c.id for c, _ in straddling))
        reason = (
            f"Too few samples to tell whether {', '.join(names)} meet{'s' if len(names) == 1 else ''} "
            "the bound."
        )
    elif record.subject.n == 0:
        word, reason = "inconclusive", (
            "Without evaluation data and an architecture only the weights were looked at."
        )
    elif not passed:
        word, reason = "inconclusive", f"Nothing of {level} was judged, so nothing was passed."
    elif not any(c.needs_data for c, _ in passed) and any(
        c.needs_data and c.outcome == "not_applicable" for c in record.checks
    ):
        word = "inconclusive"
        reason = "Only the weights were judged: no check of the model's behaviour applies to it."
    else:
        word = "pass"
        reason = f"All {len(passed)} expectations of {level} are met."
        if len(passed) == 1:
            reason = f"The one expectation of {level} is met."
        if straddling:
            reason += f" {len(straddling)} more could not be settled; the policy lets that pass."
    waived = sum(1 for c in record.checks for e in c.expectations if e.waived)
    if waived:
        reason += f" {waived} waived."
    return VerdictRecord(
        word=word,  # type: ignore[arg-type]
        reason=reason,
        counts=counts(c for c in record.checks if speaks(c, record)),
        exit_code=EXIT[word],
        notes=notes,
    )



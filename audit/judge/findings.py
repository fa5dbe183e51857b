"""What is not met, in words a stakeholder reads."""

from __future__ import annotations

import hashlib
import json

from audit.judge.policy import above
from audit.record import (
    SEVERITIES,
    AuditRecord,
    CheckRecord,
    ExpectationResult,
    Finding,
    Guidance,
    Member,
    Metric,
    State,
)
from audit.words import number, share, slice_text, value_text

OPERATOR_WORDS = {
    ">=": "at least",
    "<=": "at most",
    "not_shown_below": "not shown to be below",
    "not_shown_above": "not shown to be above",
    "not_worse_than_baseline": "no worse than",
}
TOLD: tuple[State, ...] = ("failed", "undecided", "broken")


def findings_of(
    check: CheckRecord, results: list[tuple[ExpectationResult, Metric | None]]
) -> list[Finding]:
    """One for each expectation that is not met; what the user asked for and was not tested too."""
    return [
        finding(check, result, metric)
        for result, metric in results
        if (result.state in TOLD or (result.state == "untested" and result.source != "default"))
        and not superseded(result, check)
    ]


def superseded(result: ExpectationResult, check: CheckRecord) -> bool:
    """Does a more severe expectation on the same number already say it?"""
    return any(
        other.metric == result.metric
        and other.slice == result.slice
        and above(other.op) == above(result.op)
        and other.state == result.state
        and other.waived == result.waived
        and other.source == result.source
        and SEVERITIES.index(other.severity) > SEVERITIES.index(result.severity)
        for other in check.expectations
    )


def fingerprint(check: str, result: ExpectationResult) -> str:
    """Stable between runs: what was expected of what, not what was measured."""
    parts = [check, result.metric, sorted(result.slice.items()), result.op, result.severity]
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:16]


def finding(check: CheckRecord, result: ExpectationResult, metric: Metric | None) -> Finding:
    """The expectation that was not met, in the check's words where it has some."""
    guidance = check.guidance.get(result.metric)
    where = f" for {slice_text(result.slice)}" if result.slice else ""
    shown = value_text(metric) if metric is not None else "nothing"
    plain = (
        f"{result.metric.replace('_', ' ').capitalize()}{where} is {shown}; expected "
        f"{OPERATOR_WORDS[result.op]} {number(result.bound)}."
    )
    if guidance is None or result.source == "baseline" or metric is None or metric.value is None:
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
        words = words_of(metric, result.bound, guidance)
        happened = fill(guidance.what_happened, words)
        guidance = guidance.model_copy(update={"title": fill(guidance.title, words)})
    return Finding(
        fingerprint=fingerprint(check.id, result),
        severity=result.severity,
        state=result.state,
        gates=result.gates,
        title=titled(guidance.title, result.state),
        what_happened=happened if result.state == "failed" else undecided(happened, result, metric),
        why_it_matters=guidance.why_it_matters,
        what_to_do=guidance.what_to_do,
        tags=guidance.tags,
        waived=result.waived,
        members=[Member(check=check.id, metric=result.metric, slice=result.slice)],
    )


def words_of(metric: Metric, bound: float, guidance: Guidance) -> dict[str, str]:
    """What a check's words about one of its metrics are filled with."""
    # A share of samples reads best in percent.
    shown_as = share if "successes" in metric.sufficient else number
    words = {
        key: "undefined" if value is None else shown_as(value)
        for key, value in (
            ("value", metric.value),
            ("low", metric.low),
            ("high", metric.high),
            ("bound", bound),
        )
    }
    return words | {"n": f"{metric.n:,}", "slice": slice_text(metric.slice), **guidance.words}


PREFIX = {"undecided": "Undecided", "broken": "Cannot be judged", "untested": "Not tested"}


def titled(title: str, state: State) -> str:
    """The finding's title as a claim where it failed, and as a question where it is open."""
    return title if state == "failed" else f"{PREFIX[state]}: {title[0].lower()}{title[1:]}?"


def undecided(happened: str, result: ExpectationResult, metric: Metric | None) -> str:
    """Nothing follows, and why."""
    text = f"{happened} Nothing follows from this: {result.reason}."
    if result.state == "undecided" and result.reach and metric is not None:
        unit = f" {metric.unit}" if metric.unit else ""
        text += (
            f" The true value may lie {number(result.reach)}{unit} beyond the bound;"
            f" {number(result.tolerates)}{unit} is tolerated."
        )
    return text


def fill(template: str, words: dict[str, str]) -> str:
    """Put words into a template; what came from outside may hold braces of its own.

    Where a metric is of everything, what leads to its slice goes with it.
    """
    if not words["slice"]:
        for lead in (" ({slice})", ": {slice}", " {slice}"):
            template = template.replace(lead, "")
    for key, value in words.items():
        template = template.replace("{" + key + "}", value)
    return template


def conclusion(check: CheckRecord) -> str:
    """The sentence for the state that the check is in, with what is in that state."""
    about = {
        f"{{{state}}}": " and ".join(
            dict.fromkeys(
                e.metric.replace("_", " ") for e in check.expectations if e.state == state
            )
        )
        for state in ("failed", "undecided")
    }
    text = check.conclusions.get(check.state, "")
    for key, value in about.items():
        text = text.replace(key, value)
    return text


def place_under(record: AuditRecord) -> None:
    """A finding that another one explains stands under it; in a chain, under the first of it.

    A cause is no less severe and gates if its effect does, or the page would hide the worse.
    """
    causes: dict[str, Finding] = {}
    for item in record.findings:
        explained_by = record.check(item.check).explained_by
        found = [
            f
            for f in record.findings
            if f.state == "failed"
            and f.check in explained_by
            and f.check != item.check
            and SEVERITIES.index(f.severity) >= SEVERITIES.index(item.severity)
            and (f.gates or not item.gates)
        ]
        if found:
            causes[item.fingerprint] = max(found, key=lambda f: SEVERITIES.index(f.severity))
    for item in record.findings:
        root, seen = item, [item.fingerprint]
        while root.fingerprint in causes and causes[root.fingerprint].fingerprint not in seen:
            root = causes[root.fingerprint]
            seen.append(root.fingerprint)
        if root.fingerprint in causes:  # a circle: the first of its findings stands for all
            circle = seen[seen.index(causes[root.fingerprint].fingerprint) :]
            root = next(f for f in record.findings if f.fingerprint in circle)
        item.under = root.fingerprint if root is not item else ""

"""What is not met, in words a stakeholder reads."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from typing import Any

from audit.judge.policy import Policy, above
from audit.judge.states import WORST_FIRST
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
from audit.words import count, number, share, slice_text, value_text

OPERATOR_WORDS = {
    ">=": "at least",
    "<=": "at most",
    "not_shown_below": "not shown to be below",
    "not_shown_above": "not shown to be above",
    "not_worse_than_baseline": "no worse than",
}
TOLD: tuple[State, ...] = ("failed", "undecided", "broken")
NAMED = 3  # slices that a sentence names


Judged = tuple[CheckRecord, ExpectationResult, Metric | None]


def cause_of(check: CheckRecord, result: ExpectationResult) -> str:
    """The name of the weakness that a result shows, where it shows one."""
    if result.source == "baseline":
        return f"{check.id}.baseline"
    own = f"{check.id}.{result.metric}"
    return check.causes.get(result.metric) or check.causes.get("*") or own


def findings_of(judged: Iterable[Judged], policy: Policy) -> list[Finding]:
    """One for each weakness that something shows; what the user asked for and was not tested too."""
    by_cause: dict[str, list[Judged]] = {}
    for check, result, metric in judged:
        told = result.state in TOLD or (result.state == "untested" and result.source != "default")
        if told and not superseded(result, check):
            by_cause.setdefault(result.cause, []).append((check, result, metric))
    found = [finding(cause, group, policy) for cause, group in by_cause.items()]
    return sorted(found, key=lambda f: (-SEVERITIES.index(f.severity), f.state != "failed"))


def finding(cause: str, group: list[Judged], policy: Policy) -> Finding:
    """The weakness in the words of what shows it worst, with all that shows it."""
    among = {check.id for check, _, _ in group}

    def weight(item: Judged) -> tuple[Any, ...]:
        check, result, metric = item
        return (
            bool(result.waived),
            not (result.state == "failed" and policy.gates(result)),
            -SEVERITIES.index(result.severity),
            WORST_FIRST.index(result.state),
            bool(among.intersection(check.explained_by)),
            -excess(result, metric),
        )

    ordered = sorted(group, key=weight)
    check, result, metric = ordered[0]
    alike = [r for c, r, _ in ordered if (c.id, r.metric) == (check.id, result.metric)]
    guidance = guidance_for(check, result, metric, several=len(alike) > 1)
    return Finding(
        fingerprint=digest([cause]),
        cause=cause,
        severity=result.severity,
        state=result.state,
        gates=any(r.gates for _, r, _ in ordered),
        title=titled(guidance.title, result.state),
        what_happened=happened(check, result, metric) + likewise(ordered),
        why_it_matters=guidance.why_it_matters,
        what_to_do=guidance.what_to_do,
        tags=guidance.tags,
        waived=result.waived,
        members=[
            Member(
                check=c.id,
                metric=r.metric,
                slice=r.slice,
                fingerprint=fingerprint(c.id, r),
                severity=r.severity,
                state=r.state,
                what_happened=happened(c, r, m),
                waived=r.waived,
            )
            for c, r, m in ordered
        ],
    )


def excess(result: ExpectationResult, metric: Metric | None) -> float:
    """How far the number lies beyond its bound; negative on the right side of it."""
    if metric is None or metric.value is None or not math.isfinite(metric.value):
        return 0.0
    beyond = metric.value - result.bound
    return -beyond if above(result.op) else beyond


def likewise(ordered: list[Judged]) -> str:
    """What else shows the weakness, in a sentence."""
    check, result, _ = ordered[0]
    others = [
        slice_text(r.slice)
        for c, r, _ in ordered[1:]
        if (c.id, r.metric, r.state) == (check.id, result.metric, result.state) and r.slice
    ]
    text = ""
    if others:
        more = f" and {len(others) - NAMED} more" if len(others) > NAMED else ""
        text += f" The same holds for {'; '.join(others[:NAMED])}{more}."
    checks = {c.id for c, r, _ in ordered[1:] if r.state == result.state} - {check.id}
    if checks:
        text += f" {count(len(checks), 'other check shows', 'other checks show')} it too."
    return text


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
    return digest([check, result.metric, sorted(result.slice.items()), result.op, result.severity])


def digest(parts: list[Any]) -> str:
    """16 hexadecimal digits that stand for some values."""
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:16]


def plain(result: ExpectationResult, metric: Metric | None) -> str:
    """What was measured and what was expected, where the check has no words of its own."""
    where = f" for {slice_text(result.slice)}" if result.slice else ""
    shown = value_text(metric) if metric is not None else "nothing"
    return (
        f"{result.metric.replace('_', ' ').capitalize()}{where} is {shown}; expected "
        f"{OPERATOR_WORDS[result.op]} {number(result.bound)}."
    )


def own_words(
    check: CheckRecord, result: ExpectationResult, metric: Metric | None
) -> Guidance | None:
    """What the check has to say of a result, where it has something to say."""
    if result.source == "baseline" or metric is None or metric.value is None:
        return None
    return check.guidance.get(result.metric)


def guidance_for(
    check: CheckRecord, result: ExpectationResult, metric: Metric | None, *, several: bool
) -> Guidance:
    """The title and the advice; without the slice where `several` of the metric show the same."""
    guidance = own_words(check, result, metric)
    if guidance is not None and metric is not None:
        words = words_of(metric, result.bound, guidance)
        title = fill(guidance.title, {**words, "slice": ""} if several else words)
        return guidance.model_copy(update={"title": title})
    known = check.guidance.get(result.metric)
    where = f" for {slice_text(result.slice)}" if result.slice and not several else ""
    title = f"{result.metric.replace('_', ' ').capitalize()} is not as expected{where}"
    if result.source == "baseline":
        title = f"Worse than the baseline: {check.title}"
    return Guidance(
        title=title,
        what_happened=plain(result, metric),
        why_it_matters="The policy of this audit asks for it.",
        what_to_do="See the check's section for what was measured.",
        tags=known.tags if known else [],
    )


def happened(check: CheckRecord, result: ExpectationResult, metric: Metric | None) -> str:
    """What was measured of one expectation, in the check's words where it has some."""
    guidance = own_words(check, result, metric)
    if guidance is not None and metric is not None:
        text = fill(guidance.what_happened, words_of(metric, result.bound, guidance))
    else:
        text = plain(result, metric)
        if result.source == "baseline":
            text += f" Of the samples, {result.reason}."
    return text if result.state == "failed" else undecided(text, result, metric)


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
        explained_by = set(record.check(item.check).explained_by)
        found = [
            f
            for f in record.findings
            if f.state == "failed"
            and explained_by.intersection(f.checks)
            and f is not item
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

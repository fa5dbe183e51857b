"""record → what stands on page one: the areas, the causes, what was not tested, what has changed."""

from __future__ import annotations

import re
from dataclasses import dataclass

from audit.expecting import same_slice
from audit.judge.comparison import metric_of
from audit.judge.states import WORST_FIRST
from audit.judge.verdict import is_shown
from audit.record import (
    SEVERITIES,
    AuditRecord,
    CheckRecord,
    ExpectationResult,
    Finding,
    Metric,
    State,
)
from audit.reports.console import by_cause
from audit.words import count

MOST_CAUSES = 5
# What no check could look at, and not merely what nobody asked for.
MISSING = ("not_applicable", "other_task", "no_data", "profile", "budget", "skipped")


@dataclass(frozen=True)
class Area:
    """One line of the strip: an area of checks, its state, and the one number that stands for it.

    Attributes:
        metric, expectation: the number and its bound, where there are any.
        before: the same number at the last audit, where that is known.
        reason: why nothing was tested, where nothing was.
    """

    name: str
    state: State
    check: CheckRecord
    metric: Metric | None = None
    expectation: ExpectationResult | None = None
    before: float | None = None
    reason: str = ""


def areas_of(record: AuditRecord) -> list[Area]:
    """Every area that holds a check of the audit, in the record's order."""
    by_name: dict[str, list[CheckRecord]] = {}
    for check in record.checks:
        if check.kind == "question" or is_shown(check, record):
            by_name.setdefault(area_name(check), []).append(check)
    return [area_of(name, checks, record) for name, checks in by_name.items()]


def area_name(check: CheckRecord) -> str:
    """'robustness' of 'robustness.pgd'."""
    return check.id.split(".")[0]


def area_of(name: str, checks: list[CheckRecord], record: AuditRecord) -> Area:
    """The area's state is the worst of its questions', and its number is what that state rests on."""
    measured = [c for c in checks if c.kind == "question" and (c.metrics or c.state != "untested")]
    if not measured:
        return Area(name, "untested", checks[0], reason=told_reasons(checks))
    worst = min(measured, key=lambda c: (WORST_FIRST.index(c.state), -weight(c), not c.core))
    found = spoken(worst)
    if found is None:
        return Area(name, worst.state, worst, reason=worst.reason)
    metric, expectation = found
    return Area(name, worst.state, worst, metric, expectation, before(record, worst.id, metric))


def weight(check: CheckRecord) -> int:
    """How severe what a check's state rests on is."""
    about = [e.severity for e in check.expectations if e.state == check.state]
    open_ = check.state not in ("met", "untested")
    return max((SEVERITIES.index(s) for s in about), default=0) if open_ else 0


def spoken(check: CheckRecord) -> tuple[Metric, ExpectationResult | None] | None:
    """The number that a check's state rests on, with its bound; its headline where all is met.

    How good the model is, is told by its headline, bound or none: a reader looks for accuracy first.
    """
    ordered = sorted(
        check.expectations,
        key=lambda e: (WORST_FIRST.index(e.state), -SEVERITIES.index(e.severity)),
    )
    if check.metrics and (not ordered or ordered[0].state == "met"):
        first = check.metrics[0]
        bounds = [e for e in ordered if e.metric == first.name and same_slice(first.slice, e.slice)]
        if first.value is not None and (bounds or not ordered or check.core == "quality"):
            return first, bounds[0] if bounds else None
    for e in ordered:
        metric = metric_of(check, e.metric, e.slice)
        if metric is not None and metric.value is not None:
            return metric, e
    return next(((m, None) for m in check.metrics if m.value is not None), None)


def before(record: AuditRecord, check: str, metric: Metric | None) -> float | None:
    """The same number at the last audit."""
    if metric is None:
        return None
    return next(
        (
            c.before
            for c in record.compared.changes
            if (c.check, c.metric) == (check, metric.name) and same_slice(metric.slice, c.slice)
        ),
        None,
    )


def told_reasons(checks: list[CheckRecord]) -> str:
    """Why nothing of some checks was measured: what is said most often, in a few words."""
    reasons = [c.reason.strip().rstrip(".") for c in checks if c.reason and c.why != "other_task"]
    reasons = reasons or [c.reason.strip().rstrip(".") for c in checks if c.reason]
    common = sorted(dict.fromkeys(reasons), key=reasons.count, reverse=True)
    return "; ".join(common[:2])


def causes(record: AuditRecord) -> list[Finding]:
    """The weaknesses, each once, those that are open and weigh most first."""
    return [f for f, _ in by_cause(record) if not f.waived]


def open_questions(record: AuditRecord) -> list[tuple[str, str]]:
    """(area, why) of everything that was not tested, a line an area."""
    by_name: dict[str, list[CheckRecord]] = {}
    for check in record.checks:
        missing = check.state == "untested" and not check.metrics and check.why in MISSING
        if check.kind == "question" and missing:
            by_name.setdefault(area_name(check), []).append(check)
    return [
        (f"{name} ({count(len(checks), 'check')})", told_reasons(checks))
        for name, checks in by_name.items()
        if any(c.why != "other_task" for c in checks)
    ]


@dataclass(frozen=True)
class Gallery:
    """Explanations side by side: a row a sample, a column a method.

    Attributes:
        methods: the checks, in the record's order. rows: (what was answered, the input, a map or '' for each
            method), pictures as PNG in base64.
    """

    methods: list[CheckRecord]
    rows: list[tuple[str, str, list[str]]]


def gallery_of(checks: list[CheckRecord]) -> Gallery | None:
    """What several methods say of the same samples; None where fewer than two do."""
    methods = [c for c in checks if c.explained]
    if len(methods) < 2:
        return None
    maps = [{e.sample: e.map for e in c.explained} for c in methods]
    every = {e.sample: e for c in reversed(methods) for e in reversed(c.explained)}
    rows = [
        (e.said, e.input, [known.get(sample, "") for known in maps])
        for sample, e in reversed(every.items())
        if sum(sample in known for known in maps) > 1
    ]
    return Gallery(methods, rows) if rows else None


def since(record: AuditRecord) -> str:
    """What changed since the last audit, in a sentence."""
    compared = record.compared
    if not compared.digest:
        return ""
    better = sum(c.beyond_chance and c.after > c.before for c in compared.changes)
    worse = sum(c.beyond_chance and c.after < c.before for c in compared.changes)
    when = f" of {compared.date[:10]}" if compared.date else ""
    numbers = f"{worse} of {count(len(compared.changes), 'number')} worse and {better} better beyond chance"
    found = (
        f"findings: {len(compared.new)} new, {len(compared.gone)} gone, "
        f"{len(compared.unchanged)} unchanged"
    )
    return f"Since the audit{when}: {numbers}; {found}."


def first_sentence(text: str) -> str:
    """The first sentence of a text; figures and abbreviations do not end one."""
    return re.split(r"(?<=[^\d\s][.!?]) (?=[A-Z0-9])", text, maxsplit=1)[0]

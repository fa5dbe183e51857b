"""record → one self-contained HTML file: no address, no script, escaped, printable."""

from __future__ import annotations

import functools
import math
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from audit.judge.findings import OPERATOR_WORDS
from audit.judge.verdict import is_shown
from audit.record import (
    SEVERITIES,
    STATES,
    AuditRecord,
    CheckRecord,
    ExpectationResult,
    Metric,
    State,
    Validity,
)
from audit.reports.console import WORDS, by_cause, counts_text
from audit.reports.drawing import draw, keep_in
from audit.reports.escaping import reveal
from audit.words import evidence_notes, number, slice_text, value_text

if TYPE_CHECKING:
    from audit.selftesting import SelftestRecord

# Of a number that rests on evidence which does not hold: where the truth lies, if anywhere.
LONGEST, FEW = (
    100,
    20,
)  # numbers of one name, and pieces of evidence of one finding, that a reader reads
LIMITS = {"higher": "at most"}
SIGNS = {
    "pass": "✔",
    "fail": "✘",
    "inconclusive": "?",
    "met": "✔",
    "failed": "✘",
    "undecided": "?",
    "untested": "–",
    "broken": "!",
}
NEVER_TESTED = (
    "stronger attacks than the ones above: robust accuracy is an upper bound",
    "data other than the evaluation data: nothing follows for another population",
    "attackers who train models of their own: what is found of membership is a lower bound",
    "backdoors that no small patch wakes, and poisoning that leaves no trace in the answers",
    "the system around the model: who may send inputs, who acts on the answers",
    "conformity: the tags of findings name topics of public frameworks and claim nothing more",
)


def finalize(value: Any) -> Any:
    """Every value on its way into a page: odd characters are shown, units stay on their line."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return reveal(value.replace(" %", "\u00a0%"))  # a number keeps its unit on its line
    return value


def cell(value: Any) -> str:
    """A table's value in words."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return number(value) if isinstance(value, float) else str(value)


def paragraphs(text: str) -> list[str]:
    """Blocks of a docstring."""
    return [" ".join(block.split()) for block in re.split(r"\n\s*\n", text) if block.strip()]


def fold(metrics: Iterable[Metric]) -> list[Metric | str]:
    """Numbers as they are read: of many of one name the worst, and how many there are besides."""
    given = list(metrics)
    by_name: dict[str, list[Metric]] = {}
    for metric in given:
        by_name.setdefault(metric.name, []).append(metric)
    dropped: set[int] = set()
    notes: list[Metric | str] = []
    for name, all_ in by_name.items():
        if len(all_) > LONGEST:
            dropped |= {id(m) for m in sorted(all_, key=badness)[LONGEST:]}
            left = len(all_) - LONGEST
            notes.append(f"{left:,} more of {name.replace('_', ' ')}; they are in the record")
    return [m for m in given if id(m) not in dropped] + notes


def badness(metric: Metric) -> float:
    """The lower the worse; what has no value comes last, and what has no direction keeps its place."""
    if metric.value is None:
        return math.inf
    return {"lower": -1.0, "higher": 1.0}.get(metric.direction, 0.0) * metric.value


def fold_results(results: list[ExpectationResult]) -> list[ExpectationResult | str]:
    """Expectations as they are read: of many those that are not met first, and the rest counted."""
    if len(results) <= LONGEST:
        return list(results)
    order: tuple[State, ...] = ("failed", "broken", "undecided", "untested", "met")
    ordered = sorted(results, key=lambda r: order.index(r.state))
    rest = Counter(r.state for r in ordered[LONGEST:])
    told = ", ".join(f"{n:,} {WORDS[state]}" for state, n in rest.items())
    return [*ordered[:LONGEST], f"{told} more; they are in the record"]


def not_believed(check: CheckRecord) -> list[Metric]:
    """The numbers that were to be judged and rest on evidence that does not hold."""
    known = {(m.name, str(m.slice)): m for m in check.metrics if doubted(m, check.validity)}
    found = [known.get((e.metric, str(e.slice))) for e in check.expectations] if known else []
    return [m for m in found if m is not None][:LONGEST]


def doubted(metric: Metric, validity: Iterable[Validity]) -> bool:
    """Does a number rest on evidence that does not hold?"""
    return any(v.passed is False and (not v.metrics or metric.name in v.metrics) for v in validity)


@functools.cache
def environment() -> Environment:
    """The templates' environment: everything is escaped, and a name that is not there is an error."""
    env = Environment(
        loader=PackageLoader("audit.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=finalize,
    )
    env.filters.update(
        draw=draw,
        cell=cell,
        slice_text=slice_text,
        value_text=value_text,
        number=number,
        fold=fold,
        fold_results=fold_results,
        not_believed=not_believed,
        paragraphs=paragraphs,
        spaced=lambda s: s.replace("_", " "),
    )
    env.tests["doubted"] = doubted
    env.globals.update(
        SIGNS=SIGNS,
        WORDS=WORDS,
        OPERATORS=OPERATOR_WORDS,
        STATES=STATES,
        LIMITS=LIMITS,
        FEW=FEW,
        evidence_notes=evidence_notes,
    )
    return env


def keep_drawings(folder: Path) -> None:
    """Keep the figures of reports in a folder: what is there is not drawn again."""
    keep_in(folder)


def areas(checks: Iterable[CheckRecord]) -> dict[str, list[CheckRecord]]:
    """Checks that ran (or broke), by area, in the record's order."""
    found: dict[str, list[CheckRecord]] = {}
    for check in checks:
        if check.state != "untested" or check.metrics:
            found.setdefault(check.id.split(".")[0], []).append(check)
    return found


def render_selftest(record: SelftestRecord) -> str:
    """The page of a self-test, of the same look as a report."""
    return environment().get_template("selftest.html.j2").render(record=record)


def render(record: AuditRecord) -> str:
    """The report of a record."""
    by_severity: dict[str, list[Any]] = {}
    for finding, explained in by_cause(record):
        by_severity.setdefault(finding.severity, []).append((finding, explained))
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            record=record,
            areas=areas(c for c in record.checks if is_shown(c, record)),
            findings=by_severity,
            severities=list(reversed(SEVERITIES)),
            counts=counts_text(record),
            expectations=sum(record.verdict.counts.values()),
            asked=sum(bool(c.expectations) for c in record.checks if is_shown(c, record)),
            digest=record.digest(),
            untested=[c for c in record.checks if c.state == "untested" and not c.metrics],
            silent=[c for c in record.checks if not is_shown(c, record)],
            never_tested=NEVER_TESTED,
        )
    )

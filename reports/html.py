"""record → one self-contained HTML file: no address, no script, escaped, printable."""

from __future__ import annotations

import functools
import json
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
from audit.reports.drawing import draw, keep_in, png_size
from audit.reports.escaping import reveal, visible
from audit.reports.front import (
    MOST_CAUSES,
    area_name,
    areas_of,
    before,
    causes,
    first_sentence,
    gallery_of,
    open_questions,
    since,
    spoken,
)
from audit.reports.lines import name_text, number_line, number_short, number_text
from audit.words import count, evidence_notes, number, slice_text, value_text

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
        spoken=spoken,
        before=before,
        first_sentence=first_sentence,
        gallery=gallery_of,
        reason=not_trusted,
        frame=frame,
        name_text=name_text,
        number_short=number_short,
        number_text=number_text,
        number_line=number_line,
        trust=trust,
        to_copy=to_copy,
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
        MOST_CAUSES=MOST_CAUSES,
        evidence_notes=evidence_notes,
    )
    return env


def keep_drawings(folder: Path) -> None:
    """Keep the figures of reports in a folder: what is there is not drawn again."""
    keep_in(folder)


def by_area(checks: Iterable[CheckRecord]) -> dict[str, list[CheckRecord]]:
    """Checks by area, in the record's order."""
    found: dict[str, list[CheckRecord]] = {}
    for check in checks:
        found.setdefault(area_name(check), []).append(check)
    return found


def frame(picture: str) -> tuple[int, int]:
    """Width and height at which a small picture is shown: the maps beside it lie in the same frame."""
    width, height = png_size(picture)
    scale = 96 / max(width, height)
    return max(24, round(width * scale)), max(24, round(height * scale))


def not_trusted(check: CheckRecord) -> str:
    """Which of its trust tests a method has not passed; '' where it has passed all."""
    failed = [v.name for v in check.validity if v.passed is False]
    return f"failed: {', '.join(failed)}" if failed else ""


def trust(validity: list[Validity]) -> str:
    """'7 of 7 trust tests passed', and what did not."""
    passed = sum(v.passed is True for v in validity)
    text = f"{passed} of {count(len(validity), 'trust test')} passed"
    failed = [v.name for v in validity if v.passed is False]
    unknown = [v.name for v in validity if v.passed is None]
    text += f"; failed: {', '.join(failed)}" if failed else ""
    return text + (f"; open: {', '.join(unknown)}" if unknown else "")


def to_copy(check: CheckRecord, result: ExpectationResult) -> str:
    """The expectation as lines of a config, and a waiver of the weakness that it would show."""
    where = ", ".join(f"{json.dumps(k)} = {json.dumps(v)}" for k, v in result.slice.items())
    lines = [
        "[[expect]]",
        f"check = {json.dumps(check.id)}",
        f"metric = {json.dumps(result.metric)}",
        *([f"slice = {{{where}}}"] if where else []),
        f'op = "{result.op}"',
        f"bound = {result.bound:g}",
        f'severity = "{result.severity}"',
        "",
        "[[waive]]",
        f"cause = {json.dumps(result.cause)}",
        'owner = "…"',
        'reason = "…"',
        "expires = 2000-01-01  # a date within a year",
    ]
    start = 0 if result.source != "baseline" else 8  # a bound of a baseline is none of a config
    return "\n".join(lines[start:])


def as_css(text: str) -> Markup:
    """Text from outside in a string of a style sheet: everything but letters and digits by number."""
    return Markup("").join(
        c if c.isascii() and c.isalnum() else Markup(f"\\{ord(c):06x}") for c in visible(text)
    )


def render_selftest(record: SelftestRecord) -> str:
    """The page of a self-test, of the same look as a report."""
    return environment().get_template("selftest.html.j2").render(record=record)


def render(record: AuditRecord, *, full: bool = False) -> str:
    """The report of a record.

    Args:
        full: is everything printed, not only the first page and the findings?
    """
    by_severity: dict[str, list[Any]] = {}
    for finding, explained in by_cause(record):
        by_severity.setdefault(finding.severity, []).append((finding, explained))
    told = [c for c in record.checks if is_shown(c, record)]
    date = str(record.timing.get("date", ""))[:10]
    running = f"Audit of {record.subject.model}, {date}, record {record.digest()[:16]}"
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            record=record,
            full=full,
            running=as_css(running),
            areas=areas_of(record),
            causes=causes(record),
            open=open_questions(record),
            since=since(record),
            sections=by_area(c for c in told if c.state != "untested" or c.metrics),
            findings=by_severity,
            severities=list(reversed(SEVERITIES)),
            counts=counts_text(record),
            digest=record.digest(),
            untested=by_area(c for c in record.checks if c.state == "untested" and not c.metrics),
            silent=[c for c in record.checks if not is_shown(c, record)],
            never_tested=NEVER_TESTED,
        )
    )

"""A live progress display, and a summary of at most a screen."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from audit.judge.comparison import Change
from audit.record import STATES, AuditRecord, Finding, State
from audit.streams import complain
from audit.text import printed
from audit.watching import ROWS, Tick
from audit.words import count, evidence_notes, number, slice_text

if TYPE_CHECKING:
    from audit.selftesting import SelftestRecord

SIGNS = {"pass": "✔", "fail": "✘", "inconclusive": "?"}
WORDS: dict[State, str] = {
    "met": "met",
    "undecided": "undecided",
    "failed": "failed",
    "broken": "broken",
    "untested": "not tested",
}
MARKS = {"failed": "✘", "broken": "!"}
LONGEST = 12
SOON = 2.0  # seconds that nobody needs to be told of
EVERY = 30.0  # seconds between two lines in a log
PACE = 0.03  # share of the passes after which the time left is told


class Progress:
    """Which check runs, how far it is, and about how long it will take, on standard error.

    Live on a terminal, a line every half minute in a log.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock, self.began = clock, clock()
        self.said = self.began
        self.live: Any = None
        self.task: Any = None
        self.priced = False
        self.terminal = sys.stderr.isatty()

    def __enter__(self) -> Progress:
        if self.terminal:
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as Live

            self.live = Live(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[what]}", markup=False),
                TimeElapsedColumn(),
                TextColumn("{task.fields[left]}"),
                console=Console(stderr=True),
                transient=True,
            )
            self.live.__enter__()
            self.task = self.live.add_task("", total=None, what="", left="")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.live is not None:
            self.live.__exit__(kind, error, trace)

    def stage(self, text: str) -> None:
        self.began = self.clock()
        if self.live is not None:
            self.live.update(self.task, description=plain(text, 80), total=None, what="", left="")

    def check(self, tick: Tick) -> None:
        if not self.priced:
            self.priced = True
            if tick.passes and (tick.seconds is None or tick.seconds >= SOON):
                self.line(price(tick))
        where = f"check {tick.number + 1} of {tick.checks}"
        what = (
            f"{tick.what.replace('_', ' ')} {tick.done:,}/{tick.of:,} samples"
            if tick.what
            else where
        )
        left = self.left(tick)
        if self.live is not None:
            self.live.update(
                self.task,
                description=tick.check,
                total=1.0,
                completed=tick.share,
                what=what,
                left=left,
            )
        elif self.clock() - self.said >= EVERY:
            self.said = self.clock()
            more = f", {what}" if tick.what else ""
            rest = f", {left}" if left else ""
            self.line(f"{tick.check} ({where}){more}: {duration(self.clock() - self.began)}{rest}")

    def line(self, text: str) -> None:
        if self.live is not None:
            self.live.console.print(printed(text), highlight=False, markup=False)
        else:
            complain(text)

    def left(self, tick: Tick) -> str:
        """'about 3 min left', by the passes that checks declare; at first by those that were timed."""
        if tick.share < PACE:
            return "" if tick.seconds is None else f"about {duration(tick.seconds)} left"
        return f"about {duration((self.clock() - self.began) * (1 / tick.share - 1))} left"


def price(tick: Tick) -> str:
    """'38 checks, about 1,240 passes over 200 samples, about 2 min here'."""
    here = "" if tick.seconds is None else f", about {duration(tick.seconds)} here"
    checks, passes = count(tick.checks, "check"), count(about(tick.passes), "pass", "passes")
    return f"{checks}, about {passes} over {ROWS} samples{here}"


def about(n: int) -> int:
    """A whole number at three digits."""
    return int(float(f"{n:.3g}"))


def duration(seconds: float) -> str:
    """'40 s', '3 min', '2 h 10 min'."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def plain(text: str, limit: int = 300) -> str:
    """Text from outside on one line, without control characters that could steer a terminal."""
    shown = "".join(c if c.isprintable() else "�" for c in " ".join(text.split()))
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def by_cause(record: AuditRecord) -> list[tuple[Finding, list[Finding]]]:
    """Each finding with those that it explains, in the record's order."""
    known = {f.fingerprint for f in record.findings}
    return [
        (f, [g for g in record.findings if g.under == f.fingerprint and g is not f])
        for f in record.findings
        if f.under not in known
    ]


def counts_text(record: AuditRecord) -> str:
    """'40 met, 10 undecided, 0 failed, 0 broken, 3 not tested' of all expectations."""
    return ", ".join(f"{record.verdict.counts.get(s, 0)} {WORDS[s]}" for s in STATES)


def gate_text(finding: Finding) -> str:
    """What is added to a finding that blocks nothing."""
    return "" if finding.gates else ", does not gate"


def render(record: AuditRecord) -> str:
    """The summary of a record, without the path of a report."""
    return summary(record)


def summary(record: AuditRecord, report: Path | None = None) -> str:
    """Verdict, findings by severity, the counts by state, where the report is."""
    verdict = record.verdict
    lines = [
        f"{SIGNS[verdict.word]} {verdict.word.upper()}: {plain(verdict.reason)}",
        f"  {plain(record.subject.model, 80)}, {record.subject.n:,} samples, "
        f"profile {record.policy.profile}",
        "",
    ]
    found = by_cause(record)
    for finding, explained in found[:LONGEST]:
        others = len(finding.checks) - 1
        checks = f"{finding.check} and {others} more" if others else finding.check
        mark = MARKS.get(finding.state, "?")
        waived = f" [{plain(finding.waived, 90)}]" if finding.waived else ""
        more = f" (explains {len(explained)} more)" if explained else ""
        lines.append(
            f"  {mark} {finding.severity:<8} {checks}: {plain(finding.title, 110)}"
            f"{gate_text(finding)}{more}{waived}"
        )
    if len(found) > LONGEST:
        lines.append(f"    … and {len(found) - LONGEST} more findings in the report")
    for check in record.checks:
        if check.why in ("raised", "not_importable"):
            lines.append(f"  ! broken   {check.id}: {plain(check.reason, 140)}")
    for item in record.left_out[:4]:
        lines.append(
            f"  ! left out: {item.how_many:,} {plain(item.what, 60)}: {plain(item.why, 100)}"
        )
    lines += [f"  ! {plain(note, 140)}" for note in verdict.notes[:4]]
    lines += [
        f"  ! {plain(note, 240)}" for note in evidence_notes(record.timing.get("evidence", {}))
    ]
    lines += ["" if found else "  no findings", f"  {counts_text(record)}"]
    if report is not None:
        lines.append(f"  report: {report}")
    return "\n".join(lines)


def selftest(record: SelftestRecord, page: Path | None = None) -> str:
    """A line for each planted fault and each clean twin, then the verdict."""
    width = max([len(d.fault) for d in record.detections], default=0)
    checks = max([len(d.check) for d in record.detections], default=0)
    lines = []
    for d in record.detections:
        mark = "✔ flagged" if d.flagged else f"✘ MISSED ({WORDS[d.state]})"
        asked = d.check or "the verdict"
        lines.append(f"{d.fault:<{width}}  dose {number(d.dose):<8} {asked:<{checks}}  {mark}")
    lines.append("")
    for twin in record.twins:
        loud = twin.false_alarms
        mark = f"✘ {len(loud)} FALSE ALARMS" if loud else "✔ no false alarm"
        of = twin.twin_of[0] + (f" and {len(twin.twin_of) - 1} more" if twin.twin_of[1:] else "")
        lines.append(
            f"clean {twin.model} (twin of {of}): {mark}; {twin.checks} checks, {twin.judged} "
            "expectations"
        )
        lines += [
            f"    {a.severity} {a.check} {a.metric}{f' ({a.where})' if a.where else ''}: "
            f"{plain(a.value, 90)}"
            for a in loud
        ]
    sign = SIGNS["pass" if record.passed else "fail"]
    lines += ["", f"{sign} {'PASS' if record.passed else 'FAIL'}: {record.reason}"]
    lines.append(f"  {record.seconds:.0f} s, profile {record.profile}")
    if page is not None:
        lines.append(f"  report: {page}")
    return "\n".join(lines)


def comparison(changes: Sequence[Change], threshold: float) -> str:
    """A line for each metric that both records hold; what got worse beyond chance first."""

    def word(change: Change) -> str:
        if change.p >= threshold:
            return "same"
        return "WORSE" if change.worse else "better"

    rank = {"WORSE": 0, "better": 1, "same": 2}
    lines = []
    for change in sorted(changes, key=lambda c: rank[word(c)]):
        where = f" ({slice_text(change.slice)})" if change.slice else ""
        how = (
            f"{change.lost} lost, {change.gained} gained of {change.n} shared samples"
            if change.paired
            else f"unpaired, no sample is shared; n = {change.n}"
        )
        lines.append(
            f"{word(change):<6} {change.check} {change.metric}{where}: {number(change.before)} → "
            f"{number(change.after)} ({how}; p = {number(change.p)})"
        )
    lines.append(
        f"worse or better: beyond chance at 5 % over {len(changes)} comparisons (p < "
        f"{number(threshold)})"
    )
    return "\n".join(lines)

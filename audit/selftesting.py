"""An audit of the audit: are planted faults found, and is nothing found where none is planted?"""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from audit.entrypoints import zoo
from audit.errors import AuditError
from audit.judge.findings import fingerprint
from audit.record import SEVERITIES, AuditRecord, CheckRecord, Part, Severity, State, write_atomic
from audit.runner import run
from audit.subject import Subject
from audit.watching import Watch
from audit.words import slice_text, value_text
from audit.zoo.faults import Fault, faults

GATE: Severity = "high"
Stage = Callable[[str], None]


class Detection(Part):
    """One planted fault at its stated dose, and what the check that must find it said, or the audit."""

    fault: str
    what: str
    term: str
    model: str
    dose: float
    unit: str
    check: str = Field(description="empty where the whole audit is asked")
    metric: str
    state: State
    flagged: bool = Field(
        description="the expectation on that metric failed, undecided is a miss; of the whole audit: "
        "the verdict is what the fault asks for"
    )
    said: str = Field(default="", description="the finding's title, or why there is none")
    value: str = ""
    seconds: float = 0.0


class Alarm(Part):
    """An expectation that failed on a clean twin, or a check that broke on it."""

    check: str
    metric: str = ""
    where: str = ""
    severity: Severity
    value: str = ""
    declared: bool = Field(description="the reference model's card says so")


class Twin(Part):
    """A clean twin, all checks run on it."""

    model: str
    twin_of: list[str] = Field(description="the faults whose clean twin it is")
    checks: int = Field(description="how many checks were judged on it")
    judged: int = Field(description="how many expectations were")
    alarms: list[Alarm]
    seconds: float = 0.0

    @property
    def false_alarms(self) -> list[Alarm]:
        gate = SEVERITIES.index(GATE)
        return [a for a in self.alarms if SEVERITIES.index(a.severity) >= gate and not a.declared]


class SelftestRecord(Part):
    """What a self-test found. It passes if all faults were flagged and no twin raised the alarm."""

    profile: str
    seed: int
    detections: list[Detection] = Field(default_factory=list)
    twins: list[Twin] = Field(default_factory=list)
    seconds: float = 0.0
    environment: dict[str, Any] = Field(default_factory=dict)

    @property
    def missed(self) -> list[Detection]:
        return [d for d in self.detections if not d.flagged]

    @property
    def false_alarms(self) -> list[tuple[Twin, Alarm]]:
        return [(twin, alarm) for twin in self.twins for alarm in twin.false_alarms]

    @property
    def passed(self) -> bool:
        return bool(self.detections) and not self.missed and not self.false_alarms

    @property
    def reason(self) -> str:
        found = len(self.detections) - len(self.missed)
        return (
            f"{found} of {len(self.detections)} planted faults were flagged by what must "
            f"flag them; on {len(self.twins)} clean twins, {len(self.false_alarms)} of "
            f"{sum(t.judged for t in self.twins):,} expectations failed at severity {GATE} or above "
            "without the model's card saying so."
        )

    def save(self, path: str | Path) -> Path:
        return write_atomic(path, self.model_dump_json(indent=1) + "\n")


def chosen(names: Sequence[str]) -> list[Fault]:
    """The faults of these names; all where there are none.

    Raises:
        AuditError: there is no such fault; names the nearest.
    """
    for name in names:
        if name not in faults():
            near = difflib.get_close_matches(name, faults(), 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(faults())}."
            raise AuditError(f"There is no planted fault {name!r}; {hint}")
    return [fault for name, fault in faults().items() if not names or name in names]


def selftest(
    names: Sequence[str] = (),
    *,
    profile: str = "quick",
    seed: int = 0,
    out: Path | None = None,
    stage: Stage = lambda _: None,
    watch: Watch | None = None,
) -> SelftestRecord:
    """Plant each fault and ask its check; plant its clean twin and ask all checks.

    Args:
        names: of faults; all where empty.
        out: a folder that gets `selftest.json` after every step, so that nothing found is lost.
        stage, watch: told what goes on.

    Raises:
        AuditError: there is no such fault.
    """
    began = time.perf_counter()
    record = SelftestRecord(profile=profile, seed=seed)
    twins: dict[str, Twin] = {}
    selected = chosen(names)
    for done, fault in enumerate(selected):
        count = f"{done + 1} of {len(selected)}, {fault.name}"
        stage(f"{count}: planting")
        subject = fault.plant(fault.dose, seed)
        record.detections.append(detect(fault, subject, profile, seed, watch))
        stage(f"{count}: its clean twin")
        clean = fault.plant(fault.clean, seed)
        key = identity(clean)
        if key in twins:
            twins[key].twin_of.append(fault.name)
        else:
            twins[key] = examine(fault, clean, profile, seed, watch, record)
            record.twins.append(twins[key])
        record.seconds = round(time.perf_counter() - began, 1)
        if out is not None:
            record.save(out / "selftest.json")
    return record


def identity(subject: Subject) -> str:
    """Twins of the same model, data and training data are one."""
    return f"{subject.behaviour_digest()} {subject.data_digest()} {subject.training_digest()}"


def detect(
    fault: Fault, subject: Subject, profile: str, seed: int, watch: Watch | None
) -> Detection:
    """Audit a subject with its planted fault: is the check that should flag it red?"""
    if fault.verdict:
        return detect_in_verdict(fault, subject, profile, seed, watch)
    began = time.perf_counter()
    audited = run(subject, [fault.check], profile=profile, seed=seed, watch=watch)
    check = audited.check(fault.check)
    failed = [e for e in check.expectations if e.metric == fault.metric and e.state == "failed"]
    value, said = "", check.reason or check.answer
    if failed:
        value = value_of(check, failed[0].metric, failed[0].slice)
        marks = {fingerprint(check.id, e) for e in failed}
        said = next(
            f.title
            for f in audited.findings
            if marks.intersection(m.fingerprint for m in f.members)
        )
    return detection(fault, check.state, bool(failed), said, value, began)


STATE_OF: dict[str, State] = {"pass": "met", "fail": "failed", "inconclusive": "undecided"}


def detect_in_verdict(
    fault: Fault, subject: Subject, profile: str, seed: int, watch: Watch | None
) -> Detection:
    """Ask the whole audit: it must fail, or at least not pass."""
    began = time.perf_counter()
    verdict = run(subject, profile=profile, seed=seed, watch=watch).verdict
    flagged = verdict.word == "fail" or verdict.word == fault.verdict
    return detection(fault, STATE_OF[verdict.word], flagged, verdict.reason, "", began)


def detection(
    fault: Fault, state: State, flagged: bool, said: str, value: str, began: float
) -> Detection:
    """One fault's line in the record of the self-test."""
    return Detection(
        fault=fault.name,
        what=fault.what,
        term=fault.term,
        model=fault.model,
        dose=fault.dose,
        unit=fault.unit,
        check=fault.check,
        metric=fault.metric,
        state=state,
        flagged=flagged,
        said=said,
        value=value,
        seconds=round(time.perf_counter() - began, 2),
    )


def value_of(check: CheckRecord, metric: str, where: dict[str, str | float]) -> str:
    """The metric that the fault shows in, with its interval, in words."""
    found = [m for m in check.metrics if m.name == metric and m.slice == where]
    return value_text(found[0]) if found else ""


def examine(
    fault: Fault,
    subject: Subject,
    profile: str,
    seed: int,
    watch: Watch | None,
    record: SelftestRecord,
) -> Twin:
    """Audit a clean twin with every check: what is flagged there is a false alarm."""
    began = time.perf_counter()
    audited = run(subject, profile=profile, seed=seed, watch=watch)
    record.environment = audited.environment
    return Twin(
        model=fault.model,
        twin_of=[fault.name],
        alarms=alarms(audited, fault.model),
        checks=sum(c.state in ("met", "failed", "undecided") for c in audited.checks),
        judged=sum(len(c.expectations) for c in audited.checks),
        seconds=round(time.perf_counter() - began, 2),
    )


def alarms(record: AuditRecord, model: str) -> list[Alarm]:
    """Everything that failed or broke, and whether the reference model's card declares it."""
    declared = zoo()[model].load().fails
    found = [
        Alarm(
            check=check.id,
            metric=e.metric,
            where=slice_text(e.slice),
            severity=e.severity,
            value=value_of(check, e.metric, e.slice),
            declared=f"{check.id} {e.metric}" in declared,
        )
        for check in record.checks
        for e in check.expectations
        if e.state == "failed"
    ]
    broken = [
        Alarm(check=c.id, severity="critical", value=c.reason, declared=False)
        for c in record.checks
        if c.why == "raised"
    ]
    return found + broken

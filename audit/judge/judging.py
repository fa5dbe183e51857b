"""The same measurements under a policy: every expectation, every check, the whole record."""

from __future__ import annotations

import dataclasses
import datetime
from pathlib import Path

from audit.files import read_text, strict_json
from audit.judge.comparison import Change, compare, metric_of, unmatched
from audit.judge.findings import cause_of, conclusion, findings_of, place_under
from audit.judge.policy import Policy, expectations_for
from audit.judge.states import judge_expectation, state_of
from audit.judge.verdict import is_shown, verdict
from audit.record import (
    AuditRecord,
    ChangeRecord,
    CheckRecord,
    ComparedRecord,
    ExpectationResult,
    Metric,
    PolicyRecord,
)
from audit.statistics import tango
from audit.words import count, number

ALPHA = 0.05
LOSS = 0.05  # of the shared samples: less than this is no loss that matters
TOLERATED_LOSS = 0.1

Results = list[tuple[ExpectationResult, Metric | None]]


def read_record(path: str | Path) -> AuditRecord:
    """A record from a file; one of schema version 1 is judged anew, under the policy it names.

    Raises:
        AuditError: it is missing, damaged, or no record.
    """
    record = AuditRecord.load(path)
    if strict_json(read_text(Path(path), "The record"))["schema_version"] == 1:
        record = judge(record, Policy.of(record.policy))
        record.verdict.notes.append(
            "The record is of schema version 1: it was judged anew by its numbers."
        )
    return record


def judge(
    record: AuditRecord,
    policy: Policy,
    *,
    baseline: AuditRecord | None = None,
    today: datetime.date | None = None,
) -> AuditRecord:
    """The same measurements under a policy.

    Returns:
        A new record: expectations, states, findings and verdict judged; `record` is not changed.

    Raises:
        AuditError: the baseline is of another task, or holds nothing that could be compared.
    """
    record = record.model_copy(deep=True)
    today = today or datetime.date.today()
    changes = compare(baseline, record) if baseline is not None else []
    add_absent(record, policy, baseline)
    results: dict[str, Results] = {}
    for check in record.checks:
        # What was held against a baseline stays so where none is given anew.
        held = [e for e in check.expectations if e.source == "baseline" and baseline is None]
        found = own_results(check, policy, record)
        found += [(e, metric_of(check, e.metric, e.slice)) for e in held]
        found += against_baseline(check, changes, baseline)
        check.expectations = [result for result, _ in found]
        for result in check.expectations:
            result.cause = cause_of(check, result)
        results[check.id] = found
        if check.why not in UNMEASURED:
            check.state, check.why, check.reason = state_of(check)
    notes = [*thinning(record), *waive(record, policy, today)]
    for check in record.checks:
        check.conclusion = conclusion(check)
    shown = (check for check in record.checks if is_shown(check, record))
    judged = ((check, result, metric) for check in shown for result, metric in results[check.id])
    record.findings = findings_of(judged, policy)
    place_under(record)
    record.policy = PolicyRecord(
        fail_on=policy.fail_on,
        on_inconclusive=policy.on_inconclusive,
        profile=record.policy.profile,
        expect=[e.model_dump(mode="json") for e in policy.expect],
        waivers=[w.model_dump(mode="json") for w in policy.waive],
        baseline=baseline.digest() if baseline is not None else record.policy.baseline,
    )
    if baseline is not None:
        record.compared = compared(record, baseline, changes)
    record.verdict = verdict(record, policy, notes)
    return record


def compared(record: AuditRecord, baseline: AuditRecord, changes: list[Change]) -> ComparedRecord:
    """What has changed since the baseline: numbers, beyond chance or not, and findings."""
    threshold = ALPHA / max(len(changes), 1)
    then = {f.fingerprint: f.title for f in baseline.findings}
    now = [f.fingerprint for f in record.findings]
    return ComparedRecord(
        digest=baseline.digest(),
        model=baseline.subject.model,
        date=str(baseline.timing.get("date", "")),
        changes=[
            ChangeRecord(**dataclasses.asdict(c), beyond_chance=c.p < threshold) for c in changes
        ],
        new=[f for f in now if f not in then],
        unchanged=[f for f in now if f in then],
        gone=[title for fingerprint, title in then.items() if fingerprint not in now],
    )


# A check that was not measured says so itself; of any other the expectations decide.
UNMEASURED = (
    "other_task",
    "not_applicable",
    "skipped",
    "profile",
    "budget",
    "not_selected",
    "no_data",
    "raised",
    "not_importable",
)


def add_absent(record: AuditRecord, policy: Policy, baseline: AuditRecord | None) -> None:
    """Checks that something is asked of and that are no part of the audit: that is to be said."""
    # What another policy asked for is no part of this one; what a baseline asked for is kept.
    record.checks = [
        c
        for c in record.checks
        if c.why != "not_selected" or any(e.source == "baseline" for e in c.expectations)
    ]
    known = {check.id for check in record.checks}
    asked = {e.check: e.check for e in policy.expect}
    if baseline is not None:
        asked |= {c.id: c.title for c in baseline.checks if c.kind == "question" and c.per_unit}
    for check_id, title in asked.items():
        if check_id not in known:
            record.checks.append(
                CheckRecord(
                    id=check_id,
                    kind="question",
                    title=title,
                    state="untested",
                    why="not_selected",
                    reason="it was not selected in this audit",
                )
            )


def own_results(check: CheckRecord, policy: Policy, record: AuditRecord) -> Results:
    """The check's own expectations and the user's, judged."""
    found: Results = []
    for expectation, source, replaced in expectations_for(check, policy):
        if check.why in UNMEASURED:
            raised = check.state == "broken"
            # What a check expects of itself says nothing where it was not asked.
            if source == "config" or raised:
                result = ExpectationResult(
                    **expectation.model_dump(exclude={"check", "tolerates"}),
                    source=source,
                    tolerates=expectation.tolerates or 0.0,
                    state=check.state,
                    why=check.why,
                    reason=f"{'it could not be run' if raised else 'it was not tested'}: {check.reason}",
                )
                found.append((result, None))
            continue
        found += judge_expectation(
            check, expectation, source, replaced, policy, record.left_out, record.subject.n
        )
    return found


def against_baseline(
    check: CheckRecord, changes: list[Change], baseline: AuditRecord | None
) -> Results:
    """What the baseline knows of a check, held against what is known now."""
    if baseline is None:
        return []
    threshold = ALPHA / max(len(changes), 1)
    found: Results = [
        (held_against(change, threshold), metric_of(check, change.metric, change.slice))
        for change in changes
        if change.check == check.id
    ]
    for metric, slice_, before in unmatched(check, baseline):
        measured = check.why not in UNMEASURED
        found.append(
            (
                ExpectationResult(
                    metric=metric,
                    slice=slice_,
                    op="not_worse_than_baseline",
                    bound=before,
                    severity="high",
                    source="baseline",
                    state="untested",
                    why="not_in_record" if measured else check.why,
                    reason="the baseline measured it and this audit did not"
                    + ("" if measured else f": {check.reason}"),
                ),
                None,
            )
        )
    return found


def held_against(change: Change, threshold: float) -> ExpectationResult:
    """Failed where it is worse beyond chance; met where a loss that matters can be ruled out."""
    pairing = "paired" if change.paired else "unpaired: no sample is shared"
    told = (
        f"{change.lost} lost and {change.gained} gained of {change.n} "
        f"({pairing}, p = {number(change.p)})"
    )
    common = ExpectationResult(
        metric=change.metric,
        slice=change.slice,
        op="not_worse_than_baseline",
        bound=change.before,
        severity="high",
        source="baseline",
        state="met",
        reason=told,
        tolerates=TOLERATED_LOSS,
    )
    if change.worse and change.p < threshold:
        return common.model_copy(update={"state": "failed"})
    if not change.paired:
        return common.model_copy(update={"state": "untested", "why": "unpaired"})
    loss = -tango(change.gained, change.lost, change.n, 0.025)
    if change.lost == 0 or loss <= LOSS:
        return common
    return common.model_copy(
        update={
            "state": "undecided",
            "why": "straddles",
            "reach": loss - LOSS,
            "reason": f"{told}; it may have lost {number(loss)}",
        }
    )


def thinning(record: AuditRecord) -> list[str]:
    """What is to be said of a budget that did not reach."""
    plan = record.plan
    if not plan.thinned:
        return []
    checks = len({t.check for t in plan.thinned})
    wider = max((t.wider for t in plan.thinned if t.wider), default=None)
    said = f", with intervals up to {number(wider)} times as wide" if wider else ""
    return [
        f"A budget of {count(plan.budget or 0, 'pass', 'passes')} thinned {count(checks, 'check')}{said}."
    ]


def waive(record: AuditRecord, policy: Policy, today: datetime.date) -> list[str]:
    """Lay the waivers over what is not met.

    Returns:
        What is to be said of those that have no effect.
    """
    used: set[int] = set()
    for check in record.checks:
        for result in check.expectations:
            result.waived = ""
            for index, waiver in enumerate(policy.waive):
                if result.state != "met" and waiver.covers(check, result):
                    used.add(index)
                    if waiver.expires >= today:
                        result.waived = (
                            f"waived by {waiver.owner} until {waiver.expires.isoformat()}: "
                            f"{waiver.reason}"
                        )
    notes = []
    for index, waiver in enumerate(policy.waive):
        if waiver.expires < today:
            notes.append(
                f"The waiver on {waiver.what} by {waiver.owner} expired on "
                f"{waiver.expires.isoformat()} and has no effect."
            )
        elif index not in used:
            notes.append(
                f"The waiver on {waiver.what} by {waiver.owner} matches nothing that failed."
            )
    return notes

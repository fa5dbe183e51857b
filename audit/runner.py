"""Runs a plan: one check after the other, each on a model that it may not harm."""

from __future__ import annotations

import datetime
import os
import platform
import random
import shlex
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from audit.accepting import Unacceptable, accepted
from audit.budget import Budget, parse_budget
from audit.checking import Check, Context
from audit.errors import NotApplicable
from audit.evidence import Store, library_versions
from audit.foreign import told
from audit.judge import Policy, judge
from audit.judge.comparison import comparable
from audit.plan import Planned, applicability, build_check, plan
from audit.pricing import cost_of, passes, rows_of, seconds_of_a_pass, within
from audit.record import (
    AuditRecord,
    CheckRecord,
    PlanRecord,
    PolicyRecord,
    Thinned,
    VerdictRecord,
)
from audit.registry import registry
from audit.remembering import MEASURED, remember, remembered
from audit.subject import Subject
from audit.unharmed import Guard, Harmed
from audit.watching import ROWS, Course, Watch


def check(check_id: str, **parameters: Any) -> Check:
    """One check by its id, with its parameters: `audit.check("robustness.pgd", eps=8/255)`.

    Raises:
        AuditError: there is no such check, or it does not take these parameters.
    """
    return build_check(check_id, "standard", parameters)


def run(
    subject: Subject,
    checks: Sequence[str | Check] | None = None,
    *,
    skip: Sequence[str] = (),
    profile: str = "standard",
    seed: int = 0,
    parameters: Mapping[str, Mapping[str, Any]] | None = None,
    policy: Policy | None = None,
    baseline: AuditRecord | None = None,
    evidence: str | Path | None = None,
    examples: bool = True,
    budget: str | None = None,
    watch: Watch | None = None,
) -> AuditRecord:
    """Audit a subject.

    Args:
        checks: ids, globs or checks; all installed ones where None.
        profile: 'quick', 'standard' or 'deep': how much evidence to gather.
        parameters: id → parameters of a check.
        evidence: folder that keeps what is expensive; in memory where None.
        examples: may the record hold single rows and pictures of the data?
        budget: what it may cost, as '10m' or '1240 passes': checks then measure fewer samples
            (`audit.pricing`).
        watch: told how far it is, while it runs.

    Returns:
        The record, judged. It shows itself in a notebook.

    Raises:
        AuditError: a glob matches nothing, a check does not take its parameters, or a budget is none.
    """
    started = time.perf_counter()
    allowed = parse_budget(budget) if budget is not None else Budget()
    if baseline is not None:
        comparable(baseline, subject.meta.task or "")  # before anything is measured
    policy = policy or Policy()
    planned = asked_for(subject, checks or [], policy, profile, skip, parameters)
    store = Store(subject, seed, Path(evidence) if evidence else None, examples)
    pace = seconds_of_a_pass(subject) if watch or allowed.seconds else None
    most, thinned = allowed.passes, list[Thinned]()
    if allowed.seconds is not None and pace is not None:
        most = store.once("budget", str(allowed), max(1, int(allowed.seconds / pace)))
    if most is not None:
        planned, thinned = within(planned, subject, most, policy, baseline)
    rows = rows_of(planned, [cost_of(item, subject) for item in planned])
    configured = {p.check.id: p.check for p in planned}
    context = Context(subject, store, seed, profile, examples, checks=configured)
    course = None
    if watch:
        course = Course([p.check.id for p in planned], rows, watch, pace and pace / ROWS)
        store.progress = course.report
    records, seconds = one_by_one(planned, context, course)
    record = AuditRecord(
        verdict=VerdictRecord(word="inconclusive", reason="not judged yet", counts={}, exit_code=3),
        subject=subject.summary(),
        samples=subject.sample_digests(),
        left_out=subject.left_out,
        policy=PolicyRecord(profile=profile),
        plan=PlanRecord(
            passes=passes(sum(rows)), budget=most, batch=subject.batch_size, thinned=thinned
        ),
        checks=[*records, *unimportable()],
        timing={
            "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
            "seconds": round(time.perf_counter() - started, 3),
            "checks": seconds,
            "evidence": store.ledger.told,
            **({"pass": pace} if pace else {}),
            **({"budget": budget} if budget else {}),
        },
        environment=environment(subject, seed),
    )
    return judge(record, policy, baseline=baseline)


def asked_for(
    subject: Subject,
    checks: Sequence[str | Check],
    policy: Policy,
    profile: str,
    skip: Sequence[str],
    parameters: Mapping[str, Mapping[str, Any]] | None,
) -> list[Planned]:
    """The checks that are given, those that globs name, and those that a verdict needs beside them.

    Each measures what the policy expects of it.
    """
    given = [c for c in checks if isinstance(c, Check)]
    globs = [c for c in checks if isinstance(c, str)]
    planned = plan(subject, profile=profile, only=globs, skip=skip, parameters=parameters)
    if given and not globs:
        ids = {c.id for c in given}
        planned = [p for p in planned if p.check.core and p.check.id not in ids]
    return [
        replace(p, check=p.check.asking([e.slice for e in policy.expect if e.check == p.check.id]))
        for p in [*(applicability(c, subject) for c in given), *planned]
    ]


def one_by_one(
    planned: Sequence[Planned], context: Context, course: Course | None
) -> tuple[list[CheckRecord], dict[str, float]]:
    """What each check measured, and the seconds that it took."""
    records: list[CheckRecord] = []
    seconds: dict[str, float] = {}
    guard = Guard(context.subject)
    context.store.verify = guard.verify
    if not confirmed(planned, context, guard):
        context.store.ledger.rejected.add(MEASURED)
    for number, item in enumerate(planned):
        if course:
            course.begin(number)
        began = time.perf_counter()
        records.append(run_one(item, context, guard))
        seconds[item.check.id] = round(time.perf_counter() - began, 3)
    return records, seconds


def confirmed(planned: Sequence[Planned], context: Context, guard: Guard) -> bool:
    """Does one check, drawn at random among those that were measured before, measure the same again?"""
    known = []
    for item in planned:
        context.most = item.most
        if not item.state and (record := remembered(item.check, context)) is not None:
            known.append((item, record))
    if not known:
        return True
    item, before = random.SystemRandom().choice(known)
    again = measured(item, context, guard)
    return again.model_dump(exclude={"method"}) == before.model_dump(exclude={"method"})


def unimportable() -> list[CheckRecord]:
    """A broken check for each plug-in that could not be imported."""
    return [
        CheckRecord(
            id=f"plugin.{name}",
            kind="question",
            title=f"The plug-in {name} could not be imported",
            state="broken",
            why="not_importable",
            reason=message,
        )
        for name, message in registry().broken.items()
    ]


def blank(check: Check) -> CheckRecord:
    """The record of a check that was not measured."""
    return CheckRecord(
        id=check.id,
        kind=check.kind,
        remedies=list(check.remedies),
        title=check.title,
        core=check.core,
        explained_by=list(check.explained_by),
        causes=dict(check.causes),
        state="untested",
        needs_data=check.needs_data,
        method=check.explanation(),
        parameters=check.model_dump(mode="json"),
    )


def run_one(item: Planned, context: Context, guard: Guard) -> CheckRecord:
    """Measure one check, unless it was measured before; what it raises becomes its outcome."""
    check_, record = item.check, blank(item.check)
    if guard.spoilt:
        record.state, record.why, record.reason = "broken", "raised", guard.spoilt
        return record
    if item.state:
        record.state, record.why, record.reason = item.state, item.why, item.reason
        if item.why == "budget":  # what is missing of the verdict for it
            record.defaults = [
                e.model_dump(mode="json") for e in check_.expectations(context.subject)
            ]
        return record
    context.most = item.most
    return remembered(check_, context) or measured(item, context, guard)


def measured(item: Planned, context: Context, guard: Guard) -> CheckRecord:
    """Measure one check, and keep what it measured; of one that does harm nothing is kept."""
    check_, record = item.check, blank(item.check)
    context.most = item.most
    made = set(context.store.ledger.made)
    try:
        with guard.watching():
            measurement = check_.measure(context)
            cost = check_.cost(context.subject)
            record.cost = {"forward": cost.forward, "backward": cost.backward}
            record = accepted(record, measurement)
            defaults = [*check_.expectations(context.subject), *measurement.expectations]
    except NotApplicable as reason:
        record.why, record.reason = "not_applicable", str(reason)
        remember(check_, context, record)
        return record
    except KeyboardInterrupt:
        raise
    except Harmed as error:
        context.store.forget(context.store.ledger.made - made)
        record.state, record.why, record.reason = "broken", "raised", str(error)
        return record
    except Unacceptable as error:
        record.state, record.why = "broken", "raised"
        record.reason = f"what it measured is no measurement: {error}"
        return record
    except BaseException as error:  # noqa: BLE001 - a check may raise anything; the others still run
        where = traceback.extract_tb(error.__traceback__)[-1]
        record.state, record.why = "broken", "raised"
        record.reason = f"{told(error)} ({Path(where.filename).name}, line {where.lineno})"
        return record
    if not context.examples:
        record.figures = [f for f in record.figures if not f.example]
    record.defaults = [e.model_dump(mode="json") for e in defaults]
    remember(check_, context, record)
    return record


def environment(subject: Subject, seed: int) -> dict[str, Any]:
    """What a run may differ by without being another audit."""
    return {
        "audit": version("neural-audit"),
        "command": shlex.join(["audit", *sys.argv[1:]]) if sys.argv[0].endswith("audit") else "",
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": platform.machine(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "device": str(subject.device),
        "batch_size": subject.batch_size,
        "seed": seed,
        "libraries": library_versions(),
    }

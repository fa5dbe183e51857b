"""Asks checks of a subject that lives in this process: each on a model that it may not harm."""

from __future__ import annotations

import functools
import os
import platform
import random
import shlex
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from audit.accepting import Unacceptable, accepted
from audit.budget import Budget, parse_budget
from audit.checking import Check, Context
from audit.conducting import conduct
from audit.ending import starved
from audit.errors import AuditError, NotApplicable
from audit.evidence import Store, library_versions
from audit.foreign import told
from audit.judge import Policy
from audit.judge.comparison import comparable
from audit.ledger import Ledger
from audit.pieces import Agenda, Answer, Piece
from audit.plan import Planned, applicability, build_check, known_check, plan
from audit.pricing import cost_of, passes, rows_of, seconds_of_a_pass, size, within
from audit.record import (
    AuditRecord,
    CheckRecord,
    PlanRecord,
    Thinned,
)
from audit.registry import registry
from audit.remembering import MEASURED, remember, remembered
from audit.subject import Subject
from audit.unharmed import Guard, Harmed
from audit.watching import Course, Watch


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
    """Audit a subject, in this process.

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
    here = Here(
        subject,
        checks,
        skip=skip,
        profile=profile,
        seed=seed,
        parameters=parameters,
        policy=policy,
        baseline=baseline,
        evidence=evidence,
        examples=examples,
        budget=budget,
        timed=watch is not None,
    )
    return conduct(
        here, policy=here.policy, profile=profile, baseline=baseline, budget=budget, watch=watch
    )


class Here:
    """A subject that lives in this process, and what is asked of it: a `Place`.

    Args:
        timed: is a pass timed, though no budget asks for it?
        shared: do other processes of the same audit use the folder of evidence meanwhile?
    Others are those of `run`.
    """

    def __init__(
        self,
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
        timed: bool = False,
        shared: bool = False,
    ) -> None:
        self.subject, self.profile, self.seed = subject, profile, seed
        self.policy, self.baseline = policy or Policy(), baseline
        self.asked, self.skip, self.parameters = checks or [], skip, parameters
        self.budget = parse_budget(budget) if budget is not None else Budget()
        self.budget_text, self.timed = str(budget), timed
        self.store = Store(
            subject, seed, Path(evidence) if evidence else None, examples, shared=shared
        )
        self.context = Context(subject, self.store, seed, profile, examples)
        self.planned: list[Planned] = []

    @property
    def ledger(self) -> Ledger:
        return self.store.ledger

    def environment(self) -> dict[str, Any]:
        return {"process": "that of the caller"}

    def agenda(self) -> Agenda:
        """What is to be asked, within the budget.

        Raises:
            AuditError: a glob matches nothing, a check does not take its parameters, or the baseline is
                of another task.
        """
        subject = self.subject
        if self.baseline is not None:
            comparable(self.baseline, subject.meta.task or "")  # before anything is measured
        planned = asked_for(
            subject, self.asked, self.policy, self.profile, self.skip, self.parameters
        )
        pace = seconds_of_a_pass(subject) if self.timed or self.budget.seconds else None
        most, thinned = self.budget.passes, list[Thinned]()
        if self.budget.seconds is not None and pace is not None:
            most = self.store.once(
                "budget", self.budget_text, max(1, int(self.budget.seconds / pace))
            )
        if most is not None:
            planned, thinned = within(planned, subject, most, self.policy, self.baseline)
        self.plan(planned)
        costs = [cost_of(item, subject) for item in planned]
        rows = rows_of(planned, costs)
        return Agenda(
            subject=subject.summary(),
            samples=subject.sample_digests(),
            left_out=subject.left_out,
            plan=PlanRecord(
                passes=passes(sum(rows)), budget=most, batch=subject.batch_size, thinned=thinned
            ),
            pieces=[
                Piece(
                    record=fate(item, subject),
                    given=item.check.model_dump(mode="json", exclude_unset=True),
                    asked=not item.state,
                    most=item.most,
                    rows=own,
                    alone=size(cost),
                )
                for item, own, cost in zip(planned, rows, costs, strict=True)
            ],
            beside=unimportable(),
            pace=pace,
            environment=environment(subject, self.seed),
        )

    def follow(self, agenda: Agenda, before: Ledger) -> None:
        """Ask what was planned elsewhere of the same subject.

        Args:
            before: what came of keeping evidence so far.

        Raises:
            AuditError: it is another one.
        """
        own, planned = self.subject.summary(), agenda.subject
        for what in ("digest", "data_digest", "training_digest"):
            if getattr(own, what) != getattr(planned, what):
                which = {"digest": "model", "data_digest": "data"}.get(what, "training data")
                raise AuditError(f"The {which} changed since the audit was planned; plan it again.")
        self.ledger.begun_by(before)
        self.plan(
            [Planned(known_check(p.record.id)(**p.given), most=p.most) for p in agenda.pieces]
        )

    def plan(self, planned: Sequence[Planned]) -> None:
        self.planned = list(planned)
        self.context.checks = {p.check.id: p.check for p in planned}

    @functools.cached_property
    def guard(self) -> Guard:
        """What watches over the subject from the first check on."""
        guard = Guard(self.subject)
        self.store.verify = guard.verify
        return guard

    def confirmed(self) -> bool:
        """Does what was measured before hold? Where it does not, all is measured again."""
        told = confirmed(self.planned, self.context, self.guard)
        if not told:
            self.ledger.rejected.add(MEASURED)
        return told

    def answer(self, number: int) -> Answer:
        """Ask one of the checks that are planned."""
        began, guard = time.perf_counter(), self.guard
        guard.harmed = guard.starved = False
        record = run_one(self.planned[number], self.context, guard)
        seconds = round(time.perf_counter() - began, 3)
        return Answer(
            record=record, seconds=seconds, ledger={}, harmed=guard.harmed, starved=guard.starved
        )

    def answers(self, agenda: Agenda, course: Course) -> Iterator[tuple[int, Answer]]:
        """All that is planned, one after the other."""
        self.store.progress = course.report
        self.confirmed()
        for number, piece in enumerate(agenda.pieces):
            course.begin(number)
            if piece.asked:
                yield number, self.answer(number)
            course.end(number)


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


def fate(item: Planned, subject: Subject) -> CheckRecord:
    """The record of a check before it is asked; of one that will not be, all of it."""
    record = blank(item.check)
    if item.state:
        record.state, record.why, record.reason = item.state, item.why, item.reason
        if item.why == "budget":  # what is missing of the verdict for it
            record.defaults = [e.model_dump(mode="json") for e in item.check.expectations(subject)]
    return record


def run_one(item: Planned, context: Context, guard: Guard) -> CheckRecord:
    """Measure one check, unless it was measured before; what it raises becomes its outcome."""
    if guard.spoilt:
        record = blank(item.check)
        record.state, record.why, record.reason = "broken", "raised", guard.spoilt
        return record
    context.most = item.most
    return remembered(item.check, context) or measured(item, context, guard)


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
        guard.starved = starved(error)
        what = "it asked for more memory than there is" if guard.starved else told(error)
        record.reason = f"{what} ({Path(where.filename).name}, line {where.lineno})"
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

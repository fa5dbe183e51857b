"""An audit from its plan to its record, over data alone. Imports no torch.

Where a check is asked is a value, a `Place`: this process (`audit.runner.Here`) or others
(`audit.workers.Workers`). What is planned and what is answered are data in both (`audit.pieces`), and
the record is made and judged of them here.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterator
from typing import Any, Protocol

from audit.judge import Policy, judge
from audit.ledger import Ledger
from audit.pieces import Agenda, Answer
from audit.record import AuditRecord, PolicyRecord, VerdictRecord
from audit.watching import ROWS, Course, Watch


class Place(Protocol):
    """Where checks are asked."""

    @property
    def ledger(self) -> Ledger:
        """What came of keeping evidence there."""
        ...

    def agenda(self) -> Agenda:
        """What is to be asked of the subject that lives there."""
        ...

    def follow(self, agenda: Agenda, before: Ledger) -> None:
        """Ask what was planned elsewhere of the same subject, where nothing is planned here.

        Args:
            before: what came of keeping evidence so far.
        """
        ...

    def answers(self, agenda: Agenda, course: Course) -> Iterator[tuple[int, Answer]]:
        """The number of each piece that is to be asked, with its answer, in any order."""
        ...

    def environment(self) -> dict[str, Any]:
        """What is to be said of it."""
        ...


def conduct(
    place: Place,
    *,
    policy: Policy,
    profile: str,
    baseline: AuditRecord | None = None,
    budget: str | None = None,
    watch: Watch | None = None,
) -> AuditRecord:
    """Ask all that is planned at a place; the record, judged.

    Raises:
        AuditError: the place has no subject that can be asked.
    """
    started = time.perf_counter()
    agenda = place.agenda()
    course = course_of(agenda, watch)
    records = [piece.record for piece in agenda.pieces]
    seconds = dict.fromkeys((record.id for record in records), 0.0)
    for number, answer in place.answers(agenda, course):
        records[number] = answer.record
        seconds[answer.record.id] = answer.seconds
    record = AuditRecord(
        verdict=VerdictRecord(word="inconclusive", reason="not judged yet", counts={}, exit_code=3),
        subject=agenda.subject,
        samples=agenda.samples,
        left_out=agenda.left_out,
        policy=PolicyRecord(profile=profile),
        plan=agenda.plan,
        checks=[*records, *agenda.beside],
        timing={
            "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
            "seconds": round(time.perf_counter() - started, 3),
            "checks": seconds,
            "evidence": place.ledger.told,
            **({"pass": agenda.pace} if agenda.pace else {}),
            **({"budget": budget} if budget else {}),
        },
        environment={**agenda.environment, **place.environment()},
    )
    return judge(record, policy, baseline=baseline)


def course_of(agenda: Agenda, watch: Watch | None) -> Course:
    """What tells how far the pieces of an agenda are."""
    return Course(
        [piece.record.id for piece in agenda.pieces],
        [piece.rows if piece.asked else 0 for piece in agenda.pieces],
        watch or (lambda _: None),
        agenda.pace and agenda.pace / ROWS,
    )

"""What a run hands about: what is to be asked, and what was answered, as data. Imports no torch."""

from __future__ import annotations

import json
from typing import Any

from pydantic import Field

from audit.record import CheckRecord, LeftOut, Part, PlanRecord, SubjectRecord


class Piece(Part):
    """One check, as it is to be asked.

    Attributes:
        record: what is known of it before it is asked: its id, its parameters, and where it is not to be
            asked its state and why.
        given: of its parameters, those that somebody has given; a check may look at which they are.
        asked: is it to be asked?
        most: samples that it is given at most; None: as many as it asks for.
        rows: of the network, that it declares, without those that an earlier one pays.
        alone: with them: what it may come to where it has to pay for them itself.
    """

    record: CheckRecord
    given: dict[str, Any] = Field(default_factory=dict)
    asked: bool = True
    most: int | None = None
    rows: int = Field(default=0, ge=0)
    alone: int = Field(default=0, ge=0)


class Agenda(Part):
    """All that is to be asked of a subject, and what a record says of it before anything is.

    Attributes:
        samples: the digests of the subject's.
        pieces: in the order in which they are told.
        beside: a broken check for each plug-in that could not be imported.
        pace: seconds that a pass takes; None where none was timed.
    """

    subject: SubjectRecord
    samples: list[str]
    left_out: list[LeftOut]
    plan: PlanRecord
    pieces: list[Piece]
    beside: list[CheckRecord]
    pace: float | None = None
    environment: dict[str, Any] = Field(default_factory=dict)


class Answer(Part):
    """What one check answered.

    Attributes:
        seconds: that it took.
        ledger: what came of its evidence.
        harmed: did it change what it was given?
        starved: did it ask for more memory than there is?
    """

    record: CheckRecord
    seconds: float
    ledger: dict[str, Any]
    harmed: bool = False
    starved: bool = False


def as_data(part: Part) -> Any:
    """A part as plain data, numbers that are not finite among it."""
    return part.model_dump(mode="json")


def as_text(part: Part) -> str:
    """The same as a text, NaN and infinity written as such: the judge names them."""
    return json.dumps(as_data(part))


def broken(piece: Piece, reason: str) -> CheckRecord:
    """The record of a check that was asked and gave no answer."""
    return piece.record.model_copy(update={"state": "broken", "why": "raised", "reason": reason})

"""An audit in pieces: planned once, worked at anywhere, collected. Imports no torch.

A manifest holds the job and its agenda; whoever has the same files, at the same paths, can answer some of
its pieces. Each answer is a file beside the manifest, written whole or not at all, with a seal; evidence goes
into the folder that all share. Nothing is measured where they are collected.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from audit.config import Config
from audit.errors import AuditError
from audit.job import Job
from audit.judge import read_record
from audit.ledger import Ledger
from audit.pieces import Agenda, Answer, as_data, as_text
from audit.record import Part, Severity, write_atomic
from audit.seal import Damaged, sealed_text, unsealed_text
from audit.watching import Course
from audit.words import count

FILE = "manifest.json"
ANSWERS = "answers"
MOST_NAMED = 5


class Manifest(Part):
    """What is asked for, and the pieces of it.

    Attributes:
        model: a path, or 'zoo:NAME'. config: with the flags of the command line.
        fail_on: the severity from which it gates, where a flag says so.
    """

    version: Literal[1] = 1
    model: str
    config: dict[str, Any]
    fail_on: Severity | None = None
    agenda: Agenda

    @classmethod
    def fit(cls, _field: str, value: Any) -> Any:
        return value  # paths are taken as they are given

    @property
    def digest(self) -> str:
        """What it is known by: of another one no answers are read.

        Where it was planned, and how fast that was, is not in it.
        """
        data = as_data(self)
        for name in ("pace", "environment"):
            del data["agenda"][name]
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()

    def asked(self) -> list[int]:
        """The numbers of the pieces that are to be asked."""
        return [n for n, piece in enumerate(self.agenda.pieces) if piece.asked]

    def write(self, out: Path) -> Path:
        return write_atomic(out / FILE, as_text(self) + "\n")

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Read a manifest.

        Raises:
            AuditError: it cannot be read, or is none.
        """
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise AuditError(
                f"The manifest {path} cannot be read ({error.strerror}); "
                f"name the {FILE} that `audit plan` wrote."
            ) from None
        except (ValidationError, UnicodeDecodeError):
            raise AuditError(
                f"{path} is not a manifest of this release; make it again with `audit plan`."
            ) from None

    def job(self, out: Path) -> Job:
        """The job, whose evidence is kept beside the manifest."""
        config = Config.model_validate(self.config)
        baseline = read_record(config.baseline) if config.baseline else None
        policy = config.judge_policy(self.fail_on)
        return Job(self.model, config, policy, baseline, out / "evidence", shared=True)


class Answers:
    """The answers to a manifest's pieces, a file each: a `Place` that has been asked before."""

    def __init__(self, manifest: Manifest, out: Path) -> None:
        self.manifest, self.folder = manifest, out / ANSWERS
        self.kept = Ledger()
        self.key = manifest.digest

    @property
    def ledger(self) -> Ledger:
        return self.kept

    def environment(self) -> dict[str, Any]:
        return {"process": "pieces"}

    def agenda(self) -> Agenda:
        """What was planned.

        Raises:
            AuditError: some of it has not been answered; says what.
        """
        pieces = self.manifest.agenda.pieces
        missing = [pieces[n].record.id for n in self.manifest.asked() if self.read(n) is None]
        if missing:
            more = ", …" if len(missing) > MOST_NAMED else ""
            verb = "has" if len(missing) == 1 else "have"
            raise AuditError(
                f"{count(len(missing), 'piece')} of {len(self.manifest.asked())} {verb} no answer yet "
                f"({', '.join(missing[:MOST_NAMED])}{more}); run `audit work` for them."
            )
        return self.manifest.agenda

    def follow(self, agenda: Agenda, before: Ledger) -> None:
        """They answer what they were planned for."""

    def answers(self, agenda: Agenda, course: Course) -> Iterator[tuple[int, Answer]]:
        for number, piece in enumerate(agenda.pieces):
            if piece.asked and (answer := self.read(number)) is not None:
                course.begin(number)
                self.kept.add(answer.ledger)
                yield number, answer
                course.end(number)

    def path(self, number: int) -> Path:
        return self.folder / f"{self.key[:16]}-{number}.json"

    def read(self, number: int) -> Answer | None:
        """The answer to a piece; None where there is none that is whole."""
        path = self.path(number)
        try:
            return Answer.model_validate_json(unsealed_text(path, path.name))
        except (OSError, Damaged, ValidationError):
            return None

    def write(self, number: int, answer: Answer) -> None:
        path = self.path(number)
        write_atomic(path, sealed_text(path.name, as_text(answer)))


def selected(text: str, numbers: Sequence[int]) -> list[int]:
    """Of all pieces, those of share 'i/n': every n-th, from the i-th on.

    Raises:
        AuditError: it is no share.
    """
    share = re.fullmatch(r"(\d+)/(\d+)", text.strip())
    if not share or not 1 <= int(share[1]) <= int(share[2]):
        raise AuditError(f"--select {text}: give a share as i/n, from 1/n to n/n, as in 2/8.")
    return list(numbers)[int(share[1]) - 1 :: int(share[2])]


def only(agenda: Agenda, numbers: Sequence[int]) -> Agenda:
    """An agenda of which some pieces are asked."""
    chosen = set(numbers)
    pieces = [
        piece.model_copy(update={"asked": n in chosen}) for n, piece in enumerate(agenda.pieces)
    ]
    return agenda.model_copy(update={"pieces": pieces})

"""How right does the model stay when the thing lies elsewhere: turned, or shifted?

Pictures are rotated and shifted over a grid and the worst is kept (Engstrom et al. 2019: a grid finds
what gradients miss); series are shifted in time. What enters at an edge repeats the edge. A finer grid
must break little more.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, ClassVar

from pydantic import Field

from audit.checking import Context, Cost
from audit.checks.robustness.evasion import Evasion, Outcome
from audit.checks.robustness.fair_attack import (
    breaks_little_more,
    same_answer_twice,
    searched,
)
from audit.errors import NotApplicable
from audit.meta import Number
from audit.producers.attacks import spatial
from audit.record import Validity
from audit.subject import Subject
from audit.threats.attack import Attack
from audit.threats.threat import Threat
from audit.words import share

TRIED = 0.65  # of the places, as a rule


class Spatial(Evasion):
    """How right does the model stay when the thing lies elsewhere: turned, or shifted?"""

    id: ClassVar[str] = "robustness.spatial"
    title: ClassVar[str] = (
        "How right does the model stay when the thing lies elsewhere: turned, or shifted?"
    )
    finding_title: ClassVar[str] = "Turning or shifting the input flips the answer"
    size_name: ClassVar[str] = "shift"
    sized_by: ClassVar[tuple[str, ...]] = ("degrees", "shift")
    todo: ClassVar[str] = (
        "Train with turned and shifted copies, or bring every input into the same place before the "
        "model sees it."
    )
    profiles: ClassVar[dict[str, dict[str, Any]]] = {
        "quick": {"samples": 60, "grid": 3, "diagnostic_samples": 10},
        "deep": {"samples": 1000, "grid": 7},
    }

    degrees: Annotated[Number, Field(ge=0, le=180)] = Field(
        default=15.0, description="largest rotation either way"
    )
    shift: Annotated[Number, Field(ge=0, le=0.5)] = Field(
        default=0.05,
        description="largest shift either way: a share of width and height, or of a series' length",
    )
    grid: int = Field(default=5, ge=3, description="values tried of each, an odd number")
    diagnostic_samples: int = Field(
        default=20, ge=10, description="that a grid twice as fine is tried on"
    )

    def applies(self, subject: Subject) -> None:
        subject.require("judged")
        if subject.task.located:
            raise NotApplicable(
                f"each of the {subject.task.unit(subject)} has its label, which would have to move too"
            )
        self.tries(subject, self.grid)

    def tries(self, subject: Subject, grid: int) -> int:
        """Places that each sample is tried at."""
        return len(subject.kind.displacements(subject, self.degrees, self.shift, grid))

    def finer(self, subject: Subject) -> int:
        """Places of a grid twice as fine; 0 where the subject has no more of them."""
        more = self.tries(subject, 2 * self.grid - 1)
        return more if more > self.tries(subject, self.grid) else 0

    def cost(self, subject: Subject) -> Cost:
        n, few = min(self.samples, subject.n), min(self.diagnostic_samples, subject.n)
        # What has fallen is tried no further.
        tried = n * self.tries(subject, self.grid) + few * self.finer(subject)
        return Cost.between(0, TRIED * searched(subject) * tried, tried) + Cost(2 * n)

    def size(self, subject: Subject) -> float:
        return self.shift

    def threat(self, subject: Subject, size: float) -> Threat:
        return Threat(size, *subject.kind.displacement(self.degrees, share(size)))

    def attack(self, subject: Subject, size: float, grid: int = 0) -> Attack:
        """What searches for it, over the check's grid or another."""
        parameters = {"degrees": self.degrees, "shift": size, "grid": grid or self.grid}
        return Attack("grid search", spatial, parameters)

    def validity(self, context: Context, outcome: Outcome) -> list[Validity]:
        found = [same_answer_twice(context, outcome.samples)]
        if self.finer(context.subject):
            few = context.samples(min(self.diagnostic_samples, len(outcome.samples)))
            finer = replace(
                self.attack(context.subject, outcome.size, 2 * self.grid - 1),
                name="a finer grid changes little",
            )
            standing = outcome.among(few)
            found.append(breaks_little_more(context, finer, "a grid twice as fine", few, standing))
        return found

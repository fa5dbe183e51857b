"""How right does the model stay when somebody sticks a small patch on the picture?

One square of each picture may show anything at all, the rest stays as it is. Where the gradient promises
most, projected gradient descent searches the patch's content; if the answer stands, the next place is
tried. A patch for each picture is the strongest form of Brown et al. 2017, who make one for all pictures.
Twice the places and steps must break little more, and gradients must not vanish.
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
from audit.producers.attacks import patch
from audit.record import Validity
from audit.subject import Subject
from audit.threats.attack import Attack
from audit.threats.threat import Threat
from audit.words import share

TRIED = 0.8  # of the places and steps, as a rule


class Patch(Evasion):
    """How right does the model stay when somebody sticks a small patch on the picture?"""

    id: ClassVar[str] = "robustness.patch"
    title: ClassVar[str] = (
        "How right does the model stay when somebody sticks a small patch on the picture?"
    )
    finding_title: ClassVar[str] = "A small patch anywhere on the picture flips the answer"
    size_name: ClassVar[str] = "area"
    sized_by: ClassVar[tuple[str, ...]] = ("cover",)
    todo: ClassVar[str] = (
        "Train with patches pasted in, or answer from many crops and take the majority (Levine and "
        "Feizi 2020), which can be proven."
    )
    profiles: ClassVar[dict[str, dict[str, Any]]] = {
        "quick": {"samples": 30, "places": 5, "steps": 10, "diagnostic_samples": 10},
        "deep": {"samples": 1000, "places": 16, "steps": 80},
    }

    cover: Annotated[Number, Field(gt=0, le=0.5)] = Field(
        default=0.03, description="of the patch, as a share of the picture"
    )
    samples: int = Field(default=100, ge=10, description="at most this many samples are attacked")
    places: int = Field(default=8, ge=1, description="where it is tried, the most promising first")
    steps: int = Field(default=40, ge=2)
    diagnostic_samples: int = Field(
        default=30, ge=10, description="that twice the places and steps are tried on"
    )

    def applies(self, subject: Subject) -> None:
        if not subject.kind.planar:
            raise NotApplicable(f"a patch is stuck on pictures; the inputs are {subject.kind.noun}")
        subject.require("judged")

    def cost(self, subject: Subject) -> Cost:
        n, few = min(self.samples, subject.n), min(self.diagnostic_samples, subject.n)
        # What has fallen is tried no further.
        most = (n + 4 * few) * self.places * self.steps
        tried = TRIED * searched(subject) * most
        return Cost.between(0, tried, most, backward=tried) + Cost(3 * n)

    def size(self, subject: Subject) -> float:
        return self.cover

    def threat(self, subject: Subject, size: float) -> Threat:
        told = share(size)
        return Threat(size, f"Sticking a patch on {told} of a picture", f"a patch on {told}")

    def attack(self, subject: Subject, size: float, times: int = 1) -> Attack:
        """What searches for it, with so many times the places and the steps."""
        parameters = {"area": size, "places": times * self.places, "steps": times * self.steps}
        return Attack("patch", patch, parameters)

    def validity(self, context: Context, outcome: Outcome) -> list[Validity]:
        few = context.samples(min(self.diagnostic_samples, len(outcome.samples)))
        harder = replace(
            self.attack(context.subject, outcome.size, times=2),
            name="more places and steps change little",
        )
        return [
            breaks_little_more(
                context, harder, "twice the places and steps", few, outcome.among(few)
            ),
            same_answer_twice(context, outcome.samples),
        ]

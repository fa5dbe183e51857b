"""How right does the model stay when somebody searches for the worst small change?

Projected gradient descent (Madry et al. 2018) under an Linf budget: from random starts (from the
sample itself it is the basic iterative method, Kurakin et al. 2017), steps of 2.5 eps / steps along
the gradient's sign, projected back into the budget and the input range. A sample counts as robust if
no point met on the way was misclassified. Whole numbers of a table stay whole. Fairness of the attack
is tested as by Athalye et al. 2018 and Carlini et al. 2019: gradients that are not zero, a loss that
rises, a search without gradients and examples from a surrogate that do no better, twice the steps
that change little, the same answer when asked again, and, with the budget removed, accuracy that
falls to that of the best constant answer. What falls within less falls within more: of other sizes only
what is open is attacked. The number is an upper bound: a stronger attack may find more.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from pydantic import Field

from audit.checking import Context, Cost
from audit.checks.robustness.evasion import Outcome
from audit.checks.robustness.fair_attack import fair_cost, first_cost, white_box_validity
from audit.checks.robustness.norm_bounded import NormBounded
from audit.meta import Number
from audit.producers.attacks import pgd
from audit.record import Validity
from audit.subject import Subject
from audit.threats.attack import Attack


class PGD(NormBounded):
    """How right does the model stay when somebody searches for the worst small change?"""

    id: ClassVar[str] = "robustness.pgd"
    title: ClassVar[str] = (
        "How right does the model stay when somebody searches for the worst small change?"
    )
    finding_title: ClassVar[str] = "Small changes of the input, well chosen, flip the answer"
    explained_by: ClassVar[tuple[str, ...]] = ("robustness.worst_case",)
    profiles: ClassVar[dict[str, dict[str, Any]]] = {
        "quick": {
            "samples": 200,
            "steps": 10,
            "curve": [1.0],
            "queries": 60,
            "diagnostic_samples": 80,
        },
        "deep": {
            "samples": 5000,
            "steps": 50,
            "restarts": 3,
            "diagnostic_samples": 500,
            "queries": 1000,
        },
    }

    steps: int = Field(default=20, ge=1)
    restarts: int = Field(default=1, ge=1)
    random_start: bool = Field(
        default=True, description="false: from the sample, the basic iterative method"
    )
    curve: list[Number] = Field(
        default=[0.5, 1.0, 2.0], description="multiples of eps that the curve is measured at"
    )

    def sizes(self, subject: Subject) -> list[float]:
        return sorted({*(m * self.size(subject) for m in {*self.curve, 1.0}), *self.also})

    def cost(self, subject: Subject) -> Cost:
        n = min(self.samples, subject.n)
        # Of the other sizes of the curve, only what the first leaves open: about half.
        others = round(n * self.steps * self.restarts * (len(self.sizes(subject)) - 1) / 2)
        main = first_cost(self, subject, n)
        return main + Cost(others, others) + fair_cost(self, subject, self.steps)

    def attack(self, subject: Subject, size: float) -> Attack:
        return Attack(
            "PGD",
            pgd,
            {
                "eps": size,
                "steps": self.steps,
                "restarts": self.restarts,
                "random_start": self.random_start,
            },
            asked_of=(self.samples,),
        )

    def outcomes(self, context: Context) -> list[Outcome]:
        """What falls within less falls within more: only what is open is attacked at the other sizes."""
        subject = context.subject
        if subject.kind.bounds_are_guessed(subject):
            return super().outcomes(context)
        main = self.outcome(context, self.size(subject))
        return [
            main if size == main.size else self.at_another_size(context, main, size)
            for size in self.sizes(subject)
        ]

    def at_another_size(self, context: Context, main: Outcome, size: float) -> Outcome:
        """What is left by another size, from what the main one left."""
        larger = size > main.size
        open_ = main.standing if larger else main.broken
        broken = main.broken & larger
        if open_.any():
            attack = replace(self.attack(context.subject, size), name="the curve", asked_of=())
            broken[open_] = attack.on(context, main.samples[open_], ["broken"])["broken"].numpy()
        return self.scored(context, size, main.samples, main.clean, broken, main.found)

    def validity(self, context: Context, outcome: Outcome) -> list[Validity]:
        return white_box_validity(
            context,
            self,
            outcome.threat,
            outcome.samples,
            outcome.clean,
            outcome.found,
            self.steps,
        )

"""How right does the model stay under the worst of several attacks on all values together?

The cascade of `robustness.worst_case` under an L2 budget: little in each value, or much in a few. The
default is a quarter of the longest change that the Linf budget allows, which meets what the field
uses (0.4 on 32x32 colour pixels for 8/255, 1.4 on 28x28 for 0.2). The smallest change that breaks each
sample is searched by DeepFool (Moosavi-Dezfooli et al. 2016) and from there by the attack of Carlini
and Wagner 2017. The fairness of the attack is tested in the same way. For pictures and series: the
features of a table have no common length.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from audit.checking import Context, Cost, Expectation, Profile
from audit.checks.robustness import worst_cases
from audit.checks.robustness.evasion import Beyond, Outcome
from audit.checks.robustness.norm_bounded import NormBounded
from audit.checks.robustness.worst_case import WorstCase
from audit.producers.attacks import pgd
from audit.record import Figure, Metric, Severity, Validity
from audit.subject import Subject
from audit.threats.attack import Attack
from audit.threats.cascade import (
    DEEPFOOL_STEPS,
    FIRST_STEPS,
    NEAREST,
    REFINING,
    ROUNDS,
    Cascade,
    Fallen,
    worst_case,
)
from audit.threats.threat import Norm

STANDS = 0.9  # share of the samples before most of the attacks, as a rule


class WorstCaseL2(NormBounded):
    """How right does the model stay under the worst of several attacks on all values together?"""

    id: ClassVar[str] = "robustness.worst_case_l2"
    title: ClassVar[str] = (
        "How right does the model stay under the worst of several attacks on all values together?"
    )
    finding_title: ClassVar[str] = "The worst of several L2 attacks flips too many answers"
    norm: ClassVar[Norm] = "l2"
    declared: ClassVar[Severity] = WorstCase.declared
    explained_by: ClassVar[tuple[str, ...]] = ("robustness.worst_case",)
    least_profile: ClassVar[Profile] = "standard"
    profiles: ClassVar[dict[str, dict[str, Any]]] = {
        "quick": {"samples": 100, "steps": 10, "targets": 1, "queries": 60},
        "deep": WorstCase.profiles["deep"],
    }

    samples: int = Field(default=200, ge=10, description="at most this many samples are attacked")
    steps: int = Field(default=40, ge=2, description="of each gradient attack but the first")
    restarts: int = Field(default=1, ge=1, description="random starts of each Auto-PGD")
    targets: int = Field(
        default=2, ge=0, description="other classes that are aimed at, nearest first"
    )

    def cost(self, subject: Subject) -> Cost:
        n = min(self.samples, subject.n)
        search = DEEPFOOL_STEPS // 5 * NEAREST + ROUNDS * REFINING
        return worst_cases.cost(
            self,
            subject,
            first=Cost(n * FIRST_STEPS, n * FIRST_STEPS),
            search=search,
            standing=STANDS,
        )

    def attack(self, subject: Subject, size: float) -> Attack:
        threat = self.threat(subject, size)
        return Attack("PGD", pgd, {**threat.parameters, "steps": FIRST_STEPS})

    def cascade(self, context: Context, size: float) -> Cascade:
        """The attacks, in order."""
        subject = context.subject
        return worst_case(
            self.threat(subject, size),
            self.attack(subject, size),
            classes=subject.task.alternatives(subject),
            steps=self.steps,
            restarts=self.restarts,
            targets=self.targets,
            queries=self.queries,
            draws=worst_cases.draws(context, context.samples(self.samples)),
        )

    def run(
        self, context: Context, samples: NDArray[np.intp], size: float, *, points: bool = False
    ) -> Fallen:
        return worst_cases.run(self, self.cascade(context, size), context, samples, points)

    def validity(self, context: Context, outcome: Outcome) -> list[Validity]:
        return worst_cases.fairness(self, context, outcome)

    def smallest(self, context: Context, outcome: Outcome) -> NDArray[np.float64]:
        """[n] the smallest change that broke each sample; 0 of what was wrong before."""
        return worst_cases.smallest_sizes(context, outcome)

    def beyond(self, context: Context, outcome: Outcome) -> Beyond:
        smallest, remark = self.smallest(context, outcome), self.remark(context.subject)
        return worst_cases.beyond(context, outcome, smallest, remark)

    def pictures(
        self, context: Context, base: Metric, outcomes: list[Outcome], bound: float
    ) -> list[Figure]:
        eps = self.size(context.subject)
        outcome = next(o for o in outcomes if o.size == eps)
        several = len(outcomes) > 1
        found = super().pictures(context, base, outcomes, bound) if several else []
        if eps:
            smallest = self.smallest(context, outcome)
            found.append(worst_cases.every_size(context, outcome, smallest, base, bound))
        return found

    def expectations(self, subject: Subject) -> list[Expectation]:
        return [worst_cases.gap_expectation(self.gate(subject)[1])]

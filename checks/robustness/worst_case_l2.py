"""How right does the model stay under the worst of several attacks on all values together?

The cascade of `robustness.worst_case` under an L2 budget: little in each value, or much in a few. The
default is a quarter of the longest change that the Linf budget allows, which meets what the field
uses (0.4 on 32x32 colour pixels for 8/255, 1.4 on 28x28 for 0.2). The smallest change that breaks each
sample is searched by DeepFool (Moosavi-Dezfooli et al. 2016) and from there by the attack of Carlini
and Wagner 2017. The fairness of the attack is tested in the same way. For pictures and series: the
features of a table have no common length.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from audit.checking import Context, Cost
from audit.checks.robustness.worst_case import FIRST_STEPS, WorstCase
from audit.record import Severity

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from audit.subject import Subject

DEEPFOOL_STEPS, NEAREST = 50, 3
ROUNDS, REFINING = 2, 30  # of Carlini and Wagner


class WorstCaseL2(WorstCase):
    """How right does the model stay under the worst of several attacks on all values together?"""

    id: ClassVar[str] = "robustness.worst_case_l2"
    title: ClassVar[str] = (
        "How right does the model stay under the worst of several attacks on all values together?"
    )
    finding_title: ClassVar[str] = "The worst of several L2 attacks flips too many answers"
    norm: ClassVar[Literal["linf", "l2"]] = "l2"
    undeclared: ClassVar[Severity] = "info"
    explained_by: ClassVar[tuple[str, ...]] = ("robustness.worst_case",)

    def cost(self, subject: Subject) -> Cost:
        cascade, n = super().cost(subject), min(self.samples, subject.n)
        search = n * (DEEPFOOL_STEPS // 5 * NEAREST + ROUNDS * REFINING)
        return Cost(cascade.forward + search, cascade.backward + search)

    def first(
        self, context: Context, samples: NDArray[np.intp], eps: float, fields: list[str]
    ) -> dict[str, Tensor]:
        from audit.producers.attacks import pgd

        return context.evidence(pgd, samples, fields, eps=eps, steps=FIRST_STEPS, norm="l2")

    def search(
        self,
        context: Context,
        samples: NDArray[np.intp],
        eps: float,
        fields: list[str],
        *,
        masked: bool,
        changes: int = 0,
    ) -> dict[str, Tensor]:
        from audit.producers.attacks import smallest_l2

        return context.evidence(
            smallest_l2,
            samples,
            fields,
            steps=DEEPFOOL_STEPS,
            nearest=NEAREST,
            rounds=ROUNDS,
            refining=REFINING,
            around=masked,
        )

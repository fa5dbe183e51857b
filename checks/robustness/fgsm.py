"""How right does the model stay after one step in the worst direction?

Fast gradient sign method (Goodfellow et al. 2015): each input moves by eps along the sign of the
loss's gradient. It is the cheapest attack and the weakest: what it breaks is broken, what it leaves
may not be robust. Its fairness is inherited from PGD on the same samples, which must be at least as
strong.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from audit import statistics
from audit.checking import Context, Cost
from audit.checks.robustness.evasion import Outcome
from audit.checks.robustness.fair_attack import (
    doubtful,
    fair_cost,
    first_cost,
    white_box_validity,
)
from audit.checks.robustness.norm_bounded import NormBounded
from audit.checks.robustness.pgd import PGD
from audit.meta import Number
from audit.producers.attacks import fgsm
from audit.record import Validity
from audit.subject import Subject
from audit.threats.attack import Attack


class FGSM(NormBounded):
    """How right does the model stay after one step in the worst direction?"""

    id: ClassVar[str] = "robustness.fgsm"
    title: ClassVar[str] = "How right does the model stay after one step in the worst direction?"
    finding_title: ClassVar[str] = "A single small step flips the answer"
    explained_by: ClassVar[tuple[str, ...]] = ("robustness.worst_case",)
    profiles: ClassVar[dict[str, dict[str, Any]]] = {
        "quick": {"samples": 200, "curve": [1.0], "queries": 60, "diagnostic_samples": 80},
        "deep": {"samples": 5000, "diagnostic_samples": 500, "queries": 1000},
    }

    curve: list[Number] = Field(
        default=[0.5, 1.0, 2.0], description="multiples of eps that the curve is measured at"
    )

    def cost(self, subject: Subject) -> Cost:
        n, sizes, pgd = min(self.samples, subject.n), len(self.sizes(subject)), self.beside(PGD)
        stronger = first_cost(pgd.model_copy(update={"eps": self.eps}), subject, n)
        own = Cost(2 * n * sizes, n * sizes)
        return own + stronger + fair_cost(self, subject, pgd.steps)

    def sizes(self, subject: Subject) -> list[float]:
        return sorted({*(m * self.size(subject) for m in {*self.curve, 1.0}), *self.also})

    def attack(self, subject: Subject, size: float) -> Attack:
        return Attack("FGSM", fgsm, {"eps": size})

    def validity(self, context: Context, outcome: Outcome) -> list[Validity]:
        """That of PGD, as this audit asks it, on the same samples."""
        pgd = context.configured(PGD)
        stronger = pgd.run(context, outcome.samples, outcome.size)
        lost, gained, p = statistics.mcnemar(
            ~stronger.broken.numpy() & outcome.clean, outcome.standing
        )
        return [
            *white_box_validity(
                context,
                self,
                outcome.threat,
                outcome.samples,
                outcome.clean,
                stronger,
                pgd.steps,
            ),
            doubtful(
                "PGD at least as strong",
                lost <= gained or p >= 0.05,
                f"FGSM breaks {lost} samples that PGD leaves, and leaves {gained} that PGD breaks, of the "
                "same samples",
            ),
        ]

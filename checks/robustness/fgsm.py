"""How right does the model stay after one step in the worst direction?

Fast gradient sign method (Goodfellow et al. 2015): each input moves by eps along the sign of the
loss's gradient. It is the cheapest attack and the weakest: what it breaks is broken, what it leaves
may not be robust. Its fairness is inherited from PGD on the same samples, which must be at least as
strong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from audit import statistics
from audit.checking import Context, Cost
from audit.checks.robustness.evasion import NormBounded, Outcome
from audit.checks.robustness.fair_attack import doubtful, white_box_validity
from audit.checks.robustness.pgd import PGD
from audit.record import Validity

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from audit.subject import Subject


MULTIPLES = (0.5, 1.0, 2.0)


class FGSM(NormBounded):
    """How right does the model stay after one step in the worst direction?"""

    id: ClassVar[str] = "robustness.fgsm"
    title: ClassVar[str] = "How right does the model stay after one step in the worst direction?"
    finding_title: ClassVar[str] = "A single small step flips the answer"
    explained_by: ClassVar[tuple[str, ...]] = ("robustness.worst_case",)
    profiles: ClassVar[dict[str, dict[str, Any]]] = {
        "quick": {"samples": 200, "queries": 100},
        "deep": {"samples": 5000, "diagnostic_samples": 500, "queries": 1000},
    }

    def cost(self, subject: Subject) -> Cost:
        n = min(self.samples, subject.n) * len(self.sizes(subject))
        evidence = self.reference(PGD().steps).cost(subject)
        return Cost(forward=2 * n + evidence.forward, backward=n + evidence.backward)

    def sizes(self, subject: Subject) -> list[float]:
        return sorted({*(m * self.size(subject) for m in MULTIPLES), *self.also})

    def attack(
        self, context: Context, samples: NDArray[np.intp], eps: float, fields: list[str]
    ) -> dict[str, Tensor]:
        from audit.producers.attacks import fgsm

        return context.evidence(fgsm, samples, fields, eps=eps)

    def reference(self, steps: int) -> PGD:
        """The attack that the evidence is inherited from."""
        return PGD(
            eps=self.eps,
            steps=steps,
            curve=[1.0],
            samples=self.samples,
            diagnostic_samples=self.diagnostic_samples,
            queries=self.queries,
            free_steps=self.free_steps,
        )

    def validity(self, context: Context, outcome: Outcome) -> list[Validity]:
        reference = self.reference(PGD(**PGD.profiles.get(context.profile, {})).steps)
        stronger = reference.attack(context, outcome.samples, outcome.size, list(reference.fields))
        lost, gained, p = statistics.mcnemar(
            ~stronger["broken"].numpy() & outcome.clean, outcome.standing
        )
        inherited = white_box_validity(
            context,
            reference,
            outcome.samples,
            outcome.clean,
            outcome.size,
            stronger,
            reference.steps,
        )
        inherited.append(
            doubtful(
                "PGD at least as strong",
                lost <= gained or p >= 0.05,
                f"FGSM breaks {lost} samples that PGD leaves, and leaves {gained} that PGD breaks, of the "
                "same samples",
            )
        )
        return inherited

"""What in the input speaks for the answer, by Integrated Gradients, and can that be believed?

Integrated Gradients (Sundararajan et al. 2017, by captum): gradients of the answered class's
log-odds, averaged on the way from the data's mean to the input (Gauss–Legendre points), times the
difference. The attributions must add up to the difference of the scores; they must change when the
weights are drawn anew (Adebayo et al. 2018); and ranking the input's parts by them must beat a map
made without the model (insertion and deletion, Petsiuk et al. 2018).
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from audit.checking import Context, Cost
from audit.checks.interpretability.attribution import TRUST_TESTS, Attribution
from audit.producers.attributions import integrated_gradients
from audit.subject import Subject


class IntegratedGradientsCheck(Attribution):
    """What in the input speaks for the answer, by Integrated Gradients, and can it be believed?"""

    id: ClassVar[str] = "interpretability.integrated_gradients"
    causes: ClassVar[dict[str, str]] = {"*": "interpretability.integrated_gradients"}
    title: ClassVar[str] = (
        "What in the input speaks for the answer, by Integrated Gradients, and can that be believed?"
    )
    name: ClassVar[str] = "Integrated Gradients"
    promises_completeness: ClassVar[bool] = True
    profiles: ClassVar[dict[str, dict[str, Any]]] = {
        "quick": {"samples": 40, "steps": 20},
        "deep": {"samples": 256},
    }

    steps: int = Field(default=32, ge=2, le=500, description="points on the way")

    def applies(self, subject: Subject) -> None:
        super().applies(subject)
        subject.require_gradients()

    def cost(self, subject: Subject) -> Cost:
        n = min(self.samples, subject.n)
        both = 2 * n * (self.steps + 2)
        return Cost(forward=both + n * TRUST_TESTS, backward=both)

    def attribute(
        self, context: Context, samples: NDArray[np.intp], randomised: int
    ) -> dict[str, Any]:
        return context.evidence(
            integrated_gradients,
            samples,
            steps=self.steps,
            randomised=randomised,
            output=self.output,
        )

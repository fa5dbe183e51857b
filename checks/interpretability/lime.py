"""Which features move the answer nearby, by LIME, and can that be believed?

LIME (Ribeiro et al. 2016): features (one-hot columns together), tiles of an image or blocks of a
series are taken away at random, and a linear model, weighted by nearness and fitted by lime's ridge
regression, is read off. It promises no completeness; its R² tells how linear the neighbourhood is.
It must change when the weights are drawn anew (Adebayo et al. 2018), and beat a map made without the
model (insertion and deletion, Petsiuk et al. 2018).
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from audit import statistics
from audit.checking import Context, Cost, Profile
from audit.checks.interpretability.attribution import TRUST_TESTS, Attribution
from audit.producers.attributions import lime
from audit.record import Metric
from audit.subject import Subject


class Lime(Attribution):
    """Which features move the answer nearby, by LIME, and can that be believed?"""

    id: ClassVar[str] = "interpretability.lime"
    causes: ClassVar[dict[str, str]] = {"*": "interpretability.lime"}
    title: ClassVar[str] = (
        "Which features move the answer nearby, by LIME, and can that be believed?"
    )
    name: ClassVar[str] = "LIME"
    least_profile: ClassVar[Profile] = "standard"
    profiles: ClassVar[dict[str, dict[str, Any]]] = {
        "quick": {"samples": 16, "draws": 75},
        "deep": {"samples": 256, "draws": 3000},
    }

    draws: int = Field(default=600, ge=50, description="perturbed inputs for each sample")
    rows: int = Field(default=200, ge=1, description="background rows of a table")

    def cost(self, subject: Subject) -> Cost:
        return Cost(forward=min(self.samples, subject.n) * (2 * self.draws + TRUST_TESTS))

    def own_metrics(self, found: dict[str, Any], context: Context) -> list[Metric]:
        return [
            statistics.mean(
                "local_fidelity", found["fidelity"].numpy(), direction="higher", edges=(-1, 1)
            )
        ]

    def attribute(
        self, context: Context, samples: NDArray[np.intp], randomised: int
    ) -> dict[str, Any]:
        return context.evidence(
            lime,
            samples,
            draws=self.draws,
            rows=self.rows,
            randomised=randomised,
            output=self.output,
        )

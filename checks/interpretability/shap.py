"""Which features move the answer, by SHAP, and can that be believed?

SHAP values (Lundberg and Lee 2017) of named features (one-hot columns together), tiles of an image
or blocks of a series, by antithetic permutation sampling (Mitchell et al. 2022): parts enter in
random order, and what each adds to the answered class's log-odds is averaged. Of more than 64 features
those that the answers lean on most are told apart, and the others are one part. Absent features are
taken from background rows (fewer where a table is wide), absent tiles from the data's mean. The values
must add up to the difference of the scores, change when the weights are drawn anew (Adebayo et al.
2018), and beat a map made without the model (insertion and deletion, Petsiuk et al. 2018).
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from audit.checking import Context, Cost
from audit.checks.interpretability.attribution import TRUST_TESTS, Attribution
from audit.methods.screening import players
from audit.producers.attributions import shap
from audit.subject import Subject

MOST = 20_000  # rows asked for one order of the parts, there and back
MOST_VALUES = 20_000_000  # and values that these hold


class Shap(Attribution):
    """Which features move the answer, by SHAP, and can that be believed?"""

    id: ClassVar[str] = "interpretability.shap"
    causes: ClassVar[dict[str, str]] = {"*": "interpretability.shap"}
    title: ClassVar[str] = "Which features move the answer, by SHAP, and can that be believed?"
    name: ClassVar[str] = "SHAP"
    promises_completeness: ClassVar[bool] = True
    profiles: ClassVar[dict[str, dict[str, Any]]] = {
        "quick": {"samples": 12, "permutations": 3, "most": 80},
        "deep": {"samples": 256, "permutations": 20, "rows": 100},
    }

    permutations: int = Field(default=6, ge=1, description="orders, each forwards and backwards")
    rows: int = Field(default=50, ge=1, description="background rows of a table")
    most: int | None = Field(
        default=None,
        ge=2,
        description="rows asked for an explanation: fewer background rows and orders where there are "
        "many parts; without end where not given",
    )

    def background(self, subject: Subject) -> int:
        """Rows that stand for what is absent: fewer where a table is wide."""
        asked = 2 * self.parts(subject) + 2
        most = min(MOST, self.most or MOST) // asked
        return max(1, min(self.rows, most, MOST_VALUES // (asked * subject.inputs[0].numel())))

    def parts(self, subject: Subject) -> int:
        return players(subject).count

    def orders(self, subject: Subject) -> int:
        """Orders of the parts, each there and back: fewer where there are many parts."""
        if self.most is None:
            return self.permutations
        rows = len(subject.kind.absent(subject, self.background(subject)))
        each = 2 * (self.parts(subject) + 1) * rows
        return max(1, min(self.permutations, self.most // each))

    def cost(self, subject: Subject) -> Cost:
        rows = len(subject.kind.absent(subject, self.background(subject)))
        per_unit = 2 * self.orders(subject) * (self.parts(subject) + 1) * rows
        return Cost(forward=min(self.samples, subject.n) * (2 * per_unit + TRUST_TESTS))

    def attribute(
        self, context: Context, samples: NDArray[np.intp], randomised: int
    ) -> dict[str, Any]:
        return context.evidence(
            shap,
            samples,
            permutations=self.orders(context.subject),
            rows=self.background(context.subject),
            randomised=randomised,
            output=self.output,
        )

"""Where in the picture does the model look, by Grad-CAM, and can that be believed?

Grad-CAM (Selvaraju et al. 2017, by captum) at the output of the last convolution that runs, or of the
layer that is named: its channels weighted by the mean gradient of the answered class's log-odds, kept
signed, enlarged to the input. The tokens of a transformer's block are laid back over their patches. It
promises no completeness; it must change when the weights are drawn anew (Adebayo et al. 2018), and beat
a map made without the model (insertion and deletion, Petsiuk et al. 2018).
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from audit.checking import Context, Cost
from audit.checks.interpretability.attribution import TRUST_TESTS, Attribution
from audit.errors import NotApplicable
from audit.producers.attributions import gradcam, last_convolution
from audit.subject import Subject


class GradCAM(Attribution):
    """Where in the picture does the model look, by Grad-CAM, and can that be believed?"""

    id: ClassVar[str] = "interpretability.gradcam"
    causes: ClassVar[dict[str, str]] = {"*": "interpretability.gradcam"}
    title: ClassVar[str] = (
        "Where in the picture does the model look, by Grad-CAM, and can that be believed?"
    )
    name: ClassVar[str] = "Grad-CAM"

    layer: str | None = Field(
        default=None,
        description="name of a convolution, or of a block that answers with tokens; the last "
        "convolution that runs where not given",
    )

    def applies(self, subject: Subject) -> None:
        super().applies(subject)
        subject.require_gradients()
        if not subject.kind.has_neighbours:
            raise NotApplicable(
                f"the inputs are {subject.kind.noun}, without space or time to look at"
            )
        names = dict(subject.core.named_modules())
        if self.layer is not None and self.layer not in names:
            raise NotApplicable(f"the model has no layer {self.layer!r}")
        if self.layer is None and last_convolution(subject) is None:
            raise NotApplicable("the model has no convolution whose output could be drawn")

    def cost(self, subject: Subject) -> Cost:
        n = min(self.samples, subject.n)
        return Cost(forward=n * (2 + TRUST_TESTS), backward=2 * n)

    def attribute(
        self, context: Context, samples: NDArray[np.intp], randomised: int
    ) -> dict[str, Any]:
        layer = self.layer or last_convolution(context.subject)
        return context.evidence(
            gradcam, samples, layer=layer, randomised=randomised, output=self.output
        )

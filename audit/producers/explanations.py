"""Attributions as shap holds them, for its plots and whatever else reads them."""

from __future__ import annotations

import numpy as np
import shap
from numpy.typing import NDArray
from torch import Tensor

from audit.methods.attributions.scores import in_chunks
from audit.outputs import full
from audit.producers.attributions import score_function
from audit.subject import Subject


def explanation(
    subject: Subject, samples: NDArray[np.intp], found: dict[str, Tensor]
) -> shap.Explanation:
    """What SHAP or Integrated Gradients found, as shap's own object (Lundberg and Lee 2017).

        chosen = context.samples(100)
        found = context.evidence(attributions.shap, chosen, permutations=6, rows=50)
        shap.plots.beeswarm(explanation(subject, chosen, found))

    Args:
        samples: [n] indices of the samples that are explained.
        found: evidence of `audit.producers.attributions`: players [n, parts], target [n].

    Returns:
        values [n, parts]; base_values [n], so that both add up to the score of the answered class;
        data [n, parts]: the mean of the inputs that a part has; and the parts' names.
    """
    x, _ = subject.batch(samples)
    x, parts = full(x), subject.kind.parts(subject)
    score, _ = score_function(subject, 0)
    values = found["players"].double().cpu()
    scores = in_chunks(score, x, found["target"]).double().cpu()
    return shap.Explanation(
        values=values.numpy(),
        base_values=(scores - values.sum(1)).numpy(),
        data=(parts.total(x) / parts.total(x[:1] * 0 + 1)).cpu().numpy(),
        feature_names=parts.names,
    )

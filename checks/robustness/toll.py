"""How good the answers are before and after a change, on the same samples. No check itself."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from audit.checking import Context
from audit.record import Metric, Slice


def quality(
    context: Context, samples: NDArray[np.intp], answers: Tensor, where: Slice | None = None
) -> Metric:
    """Accuracy of answers to some samples; of values, their mean absolute error.

    Args:
        where: the change; None before any: the metric is then called clean.
    """
    subject, clusters = context.subject, context.clusters(samples)
    return subject.task.mean_quality(
        subject,
        answers,
        subject.labels[samples],
        clusters=clusters,
        prefix="clean_" if where is None else "",
        where=where or {},
    )


def from_to(context: Context, before: Metric, after: Metric) -> str:
    """'accuracy goes from 85 % to 82 % (79 %–85 %)'."""
    return context.subject.task.told_change(before, after)

"""How good the answers are before and after a change, on the same samples. No check itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from audit import statistics
from audit.words import amount, number

if TYPE_CHECKING:
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
    assert subject.y is not None
    y = subject.y[samples]
    prefix = "clean_" if where is None else ""
    if subject.is_regression:
        error = (answers[:, 0].double() - y.double()).abs().numpy()
        return statistics.mean(f"{prefix}mean_absolute_error", error, clusters=clusters,
                               direction="lower", slice=where)  # fmt: skip
    return statistics.proportion(f"{prefix}accuracy", subject.merit(answers, y).numpy(),
                                 clusters=clusters, slice=where)  # fmt: skip


def from_to(context: Context, before: Metric, after: Metric) -> str:
    """'accuracy goes from 85 % to 82 % (79 %–85 %)'."""
    if context.subject.is_regression:
        return f"the mean error goes from {number(before.value)} to {number(after.value)}"
    return f"accuracy goes from {amount(before)} to {amount(after)}"

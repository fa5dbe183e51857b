"""What is read off the order of scores."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, stdtrit

from audit.record import LimitedBy, Metric
from audit.statistics.intervals import quantiles_of, undefined, unseen


def auroc(
    name: str,
    positive: ArrayLike,
    negative: ArrayLike,
    *,
    clusters: tuple[NDArray[Any], NDArray[Any]] | None = None,
    direction: str = "higher",
) -> Metric:
    """Area under the ROC curve with DeLong's interval (DeLong et al. 1988).

    On the logit scale, by Student t quantiles of the smaller side.

    Args:
        positive, negative: [n], [m] scores, higher for positive.
        clusters: labels of both, where samples come in clusters (Obuchowski 1997).
    """
    from scipy.stats import rankdata

    p, q = np.asarray(positive, dtype=np.float64), np.asarray(negative, dtype=np.float64)
    n, m = len(p), len(q)
    if n < 2 or m < 2:
        return undefined(name, "fewer than two samples of one kind", n=n + m, direction=direction)
    ranks = rankdata(np.concatenate([p, q]))
    value = float((ranks[:n].sum() - n * (n + 1) / 2) / (n * m))
    above = (ranks[:n] - rankdata(p)) / m
    below = 1 - (ranks[n:] - rankdata(q)) / n
    variance, units = float(above.var(ddof=1) / n + below.var(ddof=1) / m), min(n, m)
    if clusters is not None:
        own = np.unique(np.concatenate(clusters), return_inverse=True)[1]
        parts = np.concatenate([(above - value) / n, (below - value) / m])
        sums, k = np.bincount(own, weights=parts), int(own.max()) + 1
        variance = float((sums**2).sum()) * k / max(k - 1, 1)
        units = min(len(np.unique(labels)) for labels in clusters)

    def point(q: float) -> float:
        if variance < 1e-12 or not 0 < value < 1:
            # No spread, at the edge or among ties: the exact binomial bound of the smaller side.
            return unseen(value, (0.0, 1.0), units, q)
        step = np.sqrt(variance) / (value * (1 - value))
        return float(expit(np.log(value / (1 - value)) + stdtrit(max(units - 1, 1), q) * step))

    quantiles = quantiles_of(point, (0.0, 1.0))
    return Metric(
        name=name,
        value=value,
        low=quantiles["0.025"],
        high=quantiles["0.975"],
        n=n + m,
        direction=direction,
        edges=(0.0, 1.0),
        limited_by=LimitedBy(what="samples of the rarer kind", n=min(n, m)),
        estimator="Mann–Whitney; DeLong interval" + ("" if clusters is None else " of clusters"),
        sufficient={"quantiles": quantiles},
    )

"""What is read off the order of scores."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from audit.record import Metric
from audit.statistics.intervals import QUANTILES, undefined


def auroc(
    name: str, positive: ArrayLike, negative: ArrayLike, *, direction: str = "higher"
) -> Metric:
    """Area under the ROC curve with DeLong's interval (DeLong et al. 1988) on the logit scale, by
    Student t quantiles of the smaller side.

    Args:
        positive, negative: [n], [m] scores, higher for positive.
    """
    from scipy.special import expit
    from scipy.stats import rankdata, t

    p, q = np.asarray(positive, dtype=np.float64), np.asarray(negative, dtype=np.float64)
    n, m = len(p), len(q)
    if n < 2 or m < 2:
        return undefined(name, "fewer than two samples of one kind", n=n + m, direction=direction)
    ranks = rankdata(np.concatenate([p, q]))
    value = float((ranks[:n].sum() - n * (n + 1) / 2) / (n * m))
    above = (ranks[:n] - rankdata(p)) / m
    below = 1 - (ranks[n:] - rankdata(q)) / n
    variance = float(above.var(ddof=1) / n + below.var(ddof=1) / m)
    quantiles = {}
    for level in QUANTILES:
        if variance < 1e-12 or not 0 < value < 1:
            # At the edge there is no spread: the exact binomial bound of the smaller side.
            edge = min(n, m)
            end = {1.0: level ** (1 / edge), 0.0: 1 - (1 - level) ** (1 / edge)}
            quantiles[str(level)] = round(end.get(value, value), 12)
            continue
        z = np.log(value / (1 - value)) + t.ppf(level, min(n, m) - 1) * np.sqrt(variance) / (
            value * (1 - value)
        )
        quantiles[str(level)] = round(float(expit(z)), 12)
    return Metric(
        name=name, value=value, low=quantiles["0.025"], high=quantiles["0.975"], n=n + m,
        direction=direction, estimator="Mann–Whitney; DeLong interval",  # type: ignore[arg-type]
        sufficient={"quantiles": quantiles},
    )  # fmt: skip

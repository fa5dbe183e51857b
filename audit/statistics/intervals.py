"""Levels, and what an interval is read off."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtri, stdtrit

from audit.record import Metric, Slice

LEVEL = 0.95
# Kept with every interval that is no Wilson's, so that one at another level can be read off it.
QUANTILES = (
    0.0005,
    0.0025,
    0.005,
    0.0125,
    0.025,
    0.05,
    0.5,
    0.95,
    0.975,
    0.9875,
    0.995,
    0.9975,
    0.9995,
)
Edges = tuple[float | None, float | None]


def wilson(successes: float, n: float, level: float = LEVEL) -> tuple[float, float]:
    """Wilson score interval of a proportion (Wilson 1927).

    Args:
        successes: in [0, n]; need not be whole (an effective count under clustering).
        n: > 0.

    Returns:
        (low, high), each in [0, 1].
    """
    z = float(ndtri(0.5 + level / 2))
    p = successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low = 0.0 if successes <= 0 else max(0.0, float(centre - half))
    high = 1.0 if successes >= n else min(1.0, float(centre + half))
    return low, high


def decidable(bound: float, n: int) -> float:
    """A bound on a share of n samples, moved just so far that some outcome of them can meet it.

    A small bound, from above, is met at best by none of n; a large one, from below, by all of n.

    Examples:
        >>> decidable(0.01, 1000), decidable(0.01, 300), decidable(0.9, 12)
        (0.01, 0.0127, 0.7575)
    """
    if n <= 0:
        return bound
    if bound < 0.5:
        return max(bound, math.ceil(1e4 * wilson(0, n)[1]) / 1e4)
    return min(bound, math.floor(1e4 * wilson(n, n)[0]) / 1e4)


def tango(gained: float, lost: float, n: float, q: float) -> float:
    """The `q` quantile of the difference of two paired shares (Tango 1998).

    It is where the score test of that difference has its critical value.

    Args:
        gained, lost: pairs of `n` that went from no to yes, and from yes to no; need not be whole.
    """
    z = float(ndtri(q))

    def score(difference: float) -> float:
        b = (2 * n - gained + lost) * difference - gained - lost
        c = lost * difference * (difference - 1)
        share = (np.sqrt(b * b - 8 * n * c) - b) / (4 * n)  # lost, where the difference is true
        variance = n * (2 * share + difference * (1 - difference))
        missing = gained - lost - n * difference
        return float(missing / np.sqrt(max(variance, 1e-300))) + z

    ends = (-1 + 1e-12, 1 - 1e-12)
    if score(ends[0]) <= 0:
        return -1.0
    if score(ends[1]) >= 0:
        return 1.0
    return float(brentq(score, *ends, xtol=1e-13))


def effective_n(values: NDArray[np.float64], clusters: NDArray[Any]) -> float:
    """Samples that clustered data are worth: n over the design effect (Kish 1965, 5.4).

    Fewer where few clusters tell it (Korn and Graubard 1998), never fewer than clusters that agree with
    themselves.

    Args:
        values: [n] floats.
        clusters: [n] labels; samples of one cluster are not independent.
    """
    n = len(values)
    _, inverse, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
    k = len(sizes)
    variance = float(values.var())
    if k < 2 or variance == 0.0:
        # Nothing seen within clusters can tell what varies between them: count the clusters.
        return float(k)
    if k == n:
        return float(n)
    residuals = np.bincount(inverse, weights=values - values.mean())
    clustered = float((residuals**2).sum()) * k / (k - 1) / n**2
    worth = float(np.clip(n / max(clustered / (variance / n), 1e-12), 1.0, n))
    sure = float(stdtrit(n - 1, 0.975) / stdtrit(k - 1, 0.975)) ** 2
    return max(worth * sure, min(worth, float(k)))


def unseen(value: float, edges: Edges | None, n: float, q: float) -> float:
    """The `q` quantile of a statistic that nothing was seen to move.

    Another value, or the far edge, may have the share of samples that none of `n` would show.

    Args:
        edges: the possible range. Where an end is not known, others are taken to be as far away as
            the value is from zero, or one unit.
    """
    low, high = edges or (None, None)
    far = max(abs(value), 1.0)
    ends = (value - far if low is None else low, value + far if high is None else high)
    tail = min(q, 1 - q)
    return value + (1 - tail ** (1 / max(n, 1))) * (ends[q > 0.5] - value) * (q != 0.5)


def quantiles_of(points: Callable[[float], float], edges: Edges | None = None) -> dict[str, float]:
    """The kept quantiles of an interval, within the edges."""
    low, high = edges or (None, None)
    found = {}
    for q in QUANTILES:
        point = points(q)
        point = point if low is None else max(point, low)
        found[str(q)] = round(float(point if high is None else min(point, high)), 12)
    return found


def undefined(
    name: str, reason: str, *, n: int = 0, slice: Slice | None = None, direction: str = "none"
) -> Metric:
    """A metric that has no value, and why."""
    return Metric(
        name=name,
        value=None,
        n=n,
        slice=slice or {},
        reason=reason,
        direction=direction,
    )


def census(
    name: str, value: float, n: int, *, unit: str = "", slice: Slice | None = None
) -> Metric:
    """A count or share of all there is, not of a sample: the interval is the number itself."""
    return Metric(
        name=name,
        value=value,
        low=value,
        high=value,
        n=n,
        unit=unit,
        direction="lower",
        slice=slice or {},
        edges=(0.0, None),
        estimator=f"count of all{' ' + unit if unit else ''}",
        sufficient={"quantiles": {str(QUANTILES[0]): value, str(QUANTILES[-1]): value}},
    )


def interval(metric: Metric, level: float = LEVEL) -> tuple[float, float] | None:
    """The metric's interval at another level, from what it is sufficient in.

    None where the metric holds no interval at that level.
    """
    if metric.value is None or metric.low is None or metric.high is None:
        return None
    if level == LEVEL:
        return metric.low, metric.high
    if "successes" in metric.sufficient:
        return wilson(metric.sufficient["successes"], metric.sufficient["n"], level)
    kept = {float(q): v for q, v in metric.sufficient.get("quantiles", {}).items()}
    # The nearest kept level that is at least as strict.
    lows = [q for q in kept if q <= (1 - level) / 2 + 1e-12]
    highs = [q for q in kept if q >= (1 + level) / 2 - 1e-12]
    if not lows or not highs:
        return None
    return kept[max(lows)], kept[min(highs)]


def corrected_level(m: int, level: float = LEVEL) -> float:
    """The level at which each of `m` intervals must stand for all to hold (Bonferroni)."""
    return 1 - (1 - level) / max(m, 1)

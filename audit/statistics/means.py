"""Shares, means and differences of means."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from audit.record import Metric, Slice
from audit.statistics.intervals import QUANTILES, effective_n, tango, undefined, wilson


def proportion(
    name: str,
    successes: ArrayLike,
    *,
    clusters: NDArray[Any] | None = None,
    direction: str = "higher",
    slice: Slice | None = None,
) -> Metric:
    """A share of samples, with its Wilson interval.

    Args:
        successes: [n] booleans.
        clusters: [n] labels where samples come in clusters (writer, patient, speaker).
    """
    values = np.asarray(successes, dtype=np.float64)
    n = len(values)
    if n == 0:
        return undefined(name, "no sample", slice=slice, direction=direction)
    p, size, estimator = float(values.mean()), float(n), "share; Wilson interval"
    if clusters is not None:
        size = effective_n(values, clusters)
        estimator = "share; Wilson interval at the effective n of the clusters"
    low, high = wilson(p * size, size)
    return Metric(
        name=name, value=p, low=low, high=high, n=n, unit="", direction=direction,  # type: ignore[arg-type]
        slice=slice or {}, estimator=estimator, edges=(0, 1),
        sufficient={"successes": round(p * size, 9), "n": round(size, 9)},
    )  # fmt: skip


def mean(
    name: str,
    values: ArrayLike,
    *,
    clusters: NDArray[Any] | None = None,
    direction: str = "none",
    unit: str = "",
    slice: Slice | None = None,
    edges: tuple[float, float] | None = None,
) -> Metric:
    """A mean over samples, with its Student t interval (at the effective n under clustering).

    Where few values differ that interval is too short, and of no width where none does. So paired
    differences of yes and no (all −1, 0 or 1, with these edges) get Tango's score interval, and other
    values that are all alike the widest that Wilson's interval of "no sample is another" allows.

    Args:
        values: [n] floats.
        edges: the lowest and the highest that a value can be.
    """
    from scipy.stats import t

    data = np.asarray(values, dtype=np.float64)
    n = len(data)
    if n < 2 or not np.isfinite(data).all():
        reason = "fewer than two samples" if n < 2 else "some values are not finite"
        return undefined(name, reason, n=n, slice=slice, direction=direction)
    size = float(n) if clusters is None else effective_n(data, clusters)
    if size < 2:
        return undefined(name, "one cluster only", n=n, slice=slice, direction=direction)
    centre, error = float(data.mean()), float(data.std(ddof=1)) / np.sqrt(size)
    estimator = "mean; Student t interval"
    if edges == (-1, 1) and np.isin(data, (-1, 0, 1)).all():
        estimator = "paired difference of shares; Tango's score interval"
        gained, lost = (float((data == sign).sum()) * size / n for sign in (1, -1))
        points = {q: tango(gained, lost, size, q) for q in QUANTILES}
    elif edges and error == 0:
        estimator = "mean of equal values; Wilson interval of the share of others"
        points = {}
        for q in QUANTILES:
            others = wilson(0, size, abs(2 * q - 1))[1]
            points[q] = centre + others * (edges[q > 0.5] - centre)
    else:
        points = {q: centre + float(t.ppf(q, size - 1)) * error for q in QUANTILES}
    quantiles = {
        str(q): round(float(np.clip(point, *edges) if edges else point), 12)
        for q, point in points.items()
    }
    return Metric(
        name=name, value=centre, low=quantiles["0.025"], high=quantiles["0.975"], n=n, unit=unit,
        direction=direction, slice=slice or {}, estimator=estimator,  # type: ignore[arg-type]
        sufficient={"quantiles": quantiles},
    )  # fmt: skip


def difference(
    name: str,
    first: ArrayLike,
    second: ArrayLike,
    *,
    direction: str = "lower",
    unit: str = "",
    slice: Slice | None = None,
) -> Metric:
    """Mean of `first` minus mean of `second`, of different samples, with Welch's t interval."""
    from scipy.stats import t

    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if len(a) < 2 or len(b) < 2:
        return undefined(name, "fewer than two samples", n=len(a) + len(b), slice=slice)
    va, vb = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
    error = float(np.sqrt(va + vb))
    freedom = 1e9
    if error > 0:
        freedom = float((va + vb) ** 2 / (va**2 / (len(a) - 1) + vb**2 / (len(b) - 1)))
    value = float(a.mean() - b.mean())
    quantiles = {str(q): round(value + float(t.ppf(q, freedom)) * error, 12) for q in QUANTILES}
    return Metric(
        name=name, value=value, low=quantiles["0.025"], high=quantiles["0.975"], n=len(a) + len(b),
        unit=unit, direction=direction, slice=slice or {},  # type: ignore[arg-type]
        estimator="difference of means; Welch t interval", sufficient={"quantiles": quantiles},
    )  # fmt: skip

"""Shares, means and differences of means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from audit.record import LimitedBy, Metric, Slice
from audit.statistics.between import mid_p
from audit.statistics.intervals import (
    QUANTILES,
    Edges,
    effective_n,
    quantiles_of,
    tango,
    undefined,
    unseen,
    wilson,
)


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
        name=name,
        value=p,
        low=low,
        high=high,
        n=n,
        unit="",
        direction=direction,
        slice=slice or {},
        estimator=estimator,
        edges=(0, 1),
        sufficient={"successes": round(p * size, 9), "n": round(size, 9)},
    )


def mean(
    name: str,
    values: ArrayLike,
    *,
    clusters: NDArray[Any] | None = None,
    direction: str = "none",
    unit: str = "",
    slice: Slice | None = None,
    edges: Edges | None = None,
) -> Metric:
    """A mean over samples, with its Student t interval (at the effective n under clustering).

    Where few values differ that interval is too short, and of no width where none does. So paired
    differences of yes and no (all −1, 0 or 1, with these edges) get Tango's score interval, and other
    values that are all alike what the exact binomial bound of "no sample is another" allows.

    Args:
        values: [n] floats.
        edges: the lowest and the highest that a value can be.
    """
    data = np.asarray(values, dtype=np.float64)
    n = len(data)
    if n < 2 or not np.isfinite(data).all():
        reason = "fewer than two samples" if n < 2 else "some values are not finite"
        return undefined(name, reason, n=n, slice=slice, direction=direction)
    size = float(n) if clusters is None else effective_n(data, clusters)
    if clusters is not None and len(np.unique(clusters)) < 2:
        return undefined(name, "one cluster only", n=n, slice=slice, direction=direction)
    centre, error = float(data.mean()), float(data.std(ddof=1)) / np.sqrt(size)
    if edges == (-1, 1) and np.isin(data, (-1, 0, 1)).all():
        estimator = "paired difference of shares; Tango's score interval"
        gained, lost = (float((data == sign).sum()) * size / n for sign in (1, -1))
        quantiles = quantiles_of(lambda q: tango(gained, lost, size, q), edges)
    elif error <= 1e-12 * max(abs(centre), 1.0):
        estimator = "mean of equal values; exact bound of the share of others"
        quantiles = quantiles_of(lambda q: unseen(centre, edges, size, q), edges)
    else:
        estimator = "mean; Student t interval"
        freedom = max(size - 1, 1.0)
        quantiles = quantiles_of(lambda q: centre + float(stdtrit(freedom, q)) * error, edges)
    return Metric(
        name=name,
        value=centre,
        low=quantiles["0.025"],
        high=quantiles["0.975"],
        n=n,
        unit=unit,
        direction=direction,
        slice=slice or {},
        estimator=estimator,
        edges=edges,
        sufficient={"quantiles": quantiles},
    )


def difference(
    name: str,
    first: ArrayLike,
    second: ArrayLike,
    *,
    clusters: tuple[NDArray[Any] | None, NDArray[Any] | None] = (None, None),
    sides: tuple[str, str] = ("samples of the first kind", "samples of the second kind"),
    direction: str = "lower",
    unit: str = "",
    slice: Slice | None = None,
    edges: Edges | None = None,
) -> Metric:
    """Mean of `first` minus mean of `second`, of different samples.

    Of shares (all values 0 or 1) by their mid-p limits and recovered variances (Newcombe 1998), of
    other values by Welch's t. A side of which all values are alike is not certain.

    Args:
        clusters: labels of each side, where its samples come in clusters.
        sides: what the two are called.
        edges: the lowest and the highest that the difference can be.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    n = len(a) + len(b)
    if min(len(a), len(b)) < 2 or not (np.isfinite(a).all() and np.isfinite(b).all()):
        reason = (
            "fewer than two samples" if min(len(a), len(b)) < 2 else "some values are not finite"
        )
        return undefined(name, reason, n=n, slice=slice, direction=direction)
    value = float(a.mean() - b.mean())
    worth = [
        float(len(side)) if own is None else effective_n(side, own)
        for side, own in zip((a, b), clusters, strict=True)
    ]
    if np.isin(np.concatenate([a, b]), (0, 1)).all():
        edges, estimator = (-1.0, 1.0), "difference of shares; mid-p limits, recovered variances"
        points = share_difference(float(a.mean()), float(b.mean()), worth)
        quantiles = quantiles_of(points.__getitem__, edges)
    else:
        estimator = "difference of means; Welch t interval"
        quantiles = quantiles_of(welch(a, b, worth, edges), edges)
    smaller = min((len(a), sides[0]), (len(b), sides[1]))
    return Metric(
        name=name,
        value=value,
        low=quantiles["0.025"],
        high=quantiles["0.975"],
        n=n,
        unit=unit,
        direction=direction,
        slice=slice or {},
        estimator=estimator,
        edges=edges,
        limited_by=LimitedBy(what=smaller[1], n=smaller[0]),
        sufficient={"quantiles": quantiles},
    )


def share_difference(first: float, second: float, worth: Sequence[float]) -> dict[float, float]:
    """The kept quantiles of the difference of two shares of different samples."""
    shares = np.array([first, second])
    tails = np.minimum(QUANTILES, 1 - np.array(QUANTILES))[:, None]
    low, high = mid_p(shares * worth, np.array(worth), tails)
    under, over = shares - low, high - shares
    down, up = np.hypot(under[:, 0], over[:, 1]), np.hypot(over[:, 0], under[:, 1])
    side = np.sign(np.array(QUANTILES) - 0.5)
    ends = first - second + np.where(side < 0, -down, up) * (side != 0)
    return dict(zip(QUANTILES, ends.tolist(), strict=True))


def welch(
    a: NDArray[np.float64], b: NDArray[np.float64], worth: Sequence[float], edges: Edges | None
) -> Callable[[float], float]:
    """The quantiles of a difference of means.

    A side whose values are all alike is given what one more sample as unlike as the other side's values,
    or as all, would tell.
    """
    spreads = [float(a.var(ddof=1)), float(b.var(ddof=1))]
    width = None if edges is None or None in edges else (edges[1] - edges[0]) / 2  # type: ignore[operator]
    whole = float(np.concatenate([a, b]).var())
    largest = max(float(np.abs(a).max()), float(np.abs(b).max()), 1.0)
    none = (1e-12 * largest) ** 2
    if max(whole, *spreads) <= none:
        whole = (width or largest) ** 2
    spreads = [
        max(spreads[1 - i], whole) / len(side) if spreads[i] <= none else spreads[i]
        for i, side in enumerate((a, b))
    ]
    parts = [spread / size for spread, size in zip(spreads, worth, strict=True)]
    error = float(np.sqrt(sum(parts)))
    freedom = sum(parts) ** 2 / sum(
        part**2 / max(size - 1, 1) for part, size in zip(parts, worth, strict=True)
    )
    value = float(a.mean() - b.mean())
    return lambda q: value + float(stdtrit(freedom, q)) * error

"""The bootstrap, for smooth statistics that have no interval of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit.record import Metric, Slice
from audit.statistics.intervals import QUANTILES, undefined


def bootstrap(
    name: str,
    statistic: Callable[[NDArray[np.intp]], NDArray[np.float64]],
    n: int,
    *,
    clusters: NDArray[Any] | None = None,
    seed: int = 0,
    draws: int = 2000,
    direction: str = "higher",
    unit: str = "",
    slice: Slice | None = None,
    edges: tuple[float, float] | None = (0.0, 1.0),
) -> Metric:
    """A smooth statistic with its BCa bootstrap interval (Efron 1987).

    Args:
        statistic: maps indices [b, n] to values [b]; NaN where undefined.
        n: number of samples.
        clusters: [n] labels; whole clusters are then resampled (percentile interval).
        edges: the range of the statistic. At an edge the bootstrap has no spread, and the exact
            binomial bound takes its place. None: unbounded.
    """
    from scipy.stats import norm

    everything = np.arange(n)
    value = float(statistic(everything[None])[0])
    if not np.isfinite(value):
        return undefined(name, "undefined on these samples", n=n, slice=slice, direction=direction)
    rng = np.random.default_rng([seed, n])
    chunk = max(1, 2_000_000 // max(n, 1))
    if clusters is None:
        sampled = np.concatenate([
            statistic(rng.integers(0, n, size=(min(chunk, draws - at), n)))
            for at in range(0, draws, chunk)
        ])  # fmt: skip
    else:
        _, inverse = np.unique(clusters, return_inverse=True)
        members = [np.flatnonzero(inverse == c) for c in range(inverse.max() + 1)]
        picks = rng.integers(0, len(members), size=(draws, len(members)))
        sampled = np.array(
            [statistic(np.concatenate([members[c] for c in row])[None])[0] for row in picks]
        )
    sampled = np.sort(sampled[np.isfinite(sampled)])
    spread = float(np.ptp(sampled)) if len(sampled) else 0.0
    if spread < 1e-12:
        low, high = value, value
        if edges and value >= edges[1] - 1e-12:
            low = edges[0] + (edges[1] - edges[0]) * (0.025 ** (1 / n))
        elif edges and value <= edges[0] + 1e-12:
            high = edges[1] - (edges[1] - edges[0]) * (0.025 ** (1 / n))
        return Metric(
            name=name, value=value, low=low, high=high, n=n, unit=unit,
            direction=direction, slice=slice or {},  # type: ignore[arg-type]
            estimator="exact bound at the edge of the range",
            sufficient={"quantiles": {"0.025": round(low, 12), "0.975": round(high, 12)}},
        )  # fmt: skip
    shift, acceleration = 0.0, 0.0
    estimator = "cluster bootstrap, percentile interval"
    if clusters is None:
        estimator = f"BCa bootstrap, {draws} draws"
        below = (np.sum(sampled < value) + np.sum(sampled == value) / 2) / len(sampled)
        shift = float(norm.ppf(np.clip(below, 1 / len(sampled), 1 - 1 / len(sampled))))
        # The jackknife over at most 400 blocks: the acceleration needs no more.
        blocks = np.array_split(everything, min(n, 400))
        left_out = np.array([statistic(np.delete(everything, b)[None])[0] for b in blocks])
        gaps = np.nanmean(left_out) - left_out
        scale = float(np.nansum(gaps**2)) ** 1.5
        acceleration = float(np.nansum(gaps**3)) / (6 * scale) if scale > 0 else 0.0
    quantiles = {}
    for q in QUANTILES:
        z = shift + norm.ppf(q)
        adjusted = norm.cdf(shift + z / (1 - acceleration * z))
        quantiles[str(q)] = round(float(np.quantile(sampled, np.clip(adjusted, 0, 1))), 12)
    return Metric(
        name=name, value=value, low=quantiles["0.025"], high=quantiles["0.975"], n=n, unit=unit,
        direction=direction, slice=slice or {}, estimator=estimator,  # type: ignore[arg-type]
        sufficient={"quantiles": quantiles},
    )  # fmt: skip

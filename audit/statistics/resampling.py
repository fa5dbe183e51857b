"""The bootstrap, for smooth statistics that have no interval of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit.record import Metric, Slice
from audit.statistics.intervals import QUANTILES, Edges, quantiles_of, undefined, unseen


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
    edges: Edges | None = (0.0, 1.0),
) -> Metric:
    """A smooth statistic with its BCa bootstrap interval (Efron 1987).

    Args:
        statistic: maps indices [b, n] to values [b]; NaN where undefined.
        n: number of samples.
        clusters: [n] labels; whole clusters are then resampled (percentile interval).
        edges: the range of the statistic; None: unbounded. Where no draw differs (at an edge) the
            bootstrap has no spread, and the exact binomial bound takes its place.
    """
    from scipy.special import ndtr, ndtri

    everything = np.arange(n)
    value = float(statistic(everything[None])[0])
    if not np.isfinite(value):
        return undefined(name, "undefined on these samples", n=n, slice=slice, direction=direction)
    rng = np.random.default_rng([seed, n])
    chunk = max(1, 2_000_000 // max(n, 1))
    if clusters is None:
        sampled = np.concatenate(
            [
                statistic(rng.integers(0, n, size=(min(chunk, draws - at), n)))
                for at in range(0, draws, chunk)
            ]
        )
    else:
        own, sizes = np.unique(clusters, return_inverse=True, return_counts=True)[1:]
        order, starts = np.argsort(own, kind="stable"), np.cumsum(sizes) - sizes

        def members(picked: NDArray[np.intp]) -> NDArray[np.intp]:
            """The samples of clusters, in a row."""
            each = sizes[picked]
            at = np.repeat(starts[picked] - np.cumsum(each) + each, each)
            return order[at + np.arange(each.sum())]

        sampled = np.array(
            [
                statistic(members(rng.integers(0, len(sizes), len(sizes)))[None])[0]
                for _ in range(draws)
            ]
        )
    sampled = np.sort(sampled[np.isfinite(sampled)])
    spread = float(np.ptp(sampled)) if len(sampled) else 0.0
    if spread < 1e-12:
        units = n if clusters is None else len(np.unique(clusters))
        quantiles = quantiles_of(lambda q: unseen(value, edges, units, q), edges)
        return Metric(
            name=name,
            value=value,
            low=quantiles["0.025"],
            high=quantiles["0.975"],
            n=n,
            unit=unit,
            direction=direction,
            slice=slice or {},
            edges=edges,
            estimator="exact bound where nothing was seen to vary",
            sufficient={"quantiles": quantiles},
        )
    shift, acceleration = 0.0, 0.0
    estimator = "cluster bootstrap, percentile interval"
    if clusters is None:
        estimator = f"BCa bootstrap, {draws} draws"
        below = (np.sum(sampled < value) + np.sum(sampled == value) / 2) / len(sampled)
        shift = float(ndtri(np.clip(below, 1 / len(sampled), 1 - 1 / len(sampled))))
        # The jackknife over at most 400 blocks: the acceleration needs no more.
        blocks = np.array_split(everything, min(n, 400))
        left_out = np.array([statistic(np.delete(everything, b)[None])[0] for b in blocks])
        gaps = np.nanmean(left_out) - left_out
        scale = float(np.nansum(gaps**2)) ** 1.5
        acceleration = float(np.nansum(gaps**3)) / (6 * scale) if scale > 0 else 0.0
    quantiles = {}
    for q in QUANTILES:
        z = shift + ndtri(q)
        adjusted = ndtr(shift + z / (1 - acceleration * z))
        quantiles[str(q)] = round(float(np.quantile(sampled, np.clip(adjusted, 0, 1))), 12)
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
        sufficient={"quantiles": quantiles},
    )

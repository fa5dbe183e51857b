"""The bootstrap, for smooth statistics that have no interval of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from audit.record import Metric, Slice
from audit.statistics.intervals import QUANTILES, Edges, quantiles_of, undefined, unseen

Statistic = Callable[[NDArray[np.intp]], NDArray[np.float64]]
MANY = 10_000  # samples, or clusters, of a draw at most
GROUPS = 50  # that a jackknife leaves out, one at a time


def bootstrap(
    name: str,
    statistic: Statistic,
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

    Of more than MANY samples, draws are of MANY of them, and their spread is scaled by √(MANY / n) (m out
    of n: Bickel, Götze and van Zwet 1997).

    Args:
        statistic: maps indices [b, n] to values [b]; NaN where undefined.
        n: number of samples.
        clusters: [n] labels; whole clusters are then resampled (percentile interval).
        edges: the range of the statistic; None: unbounded. Where no draw differs (at an edge) the
            bootstrap has no spread, and the exact binomial bound takes its place.
    """
    units = n if clusters is None else len(np.unique(clusters))
    m = min(units, MANY)
    value = float(statistic(np.arange(n)[None])[0])
    if not np.isfinite(value):
        return undefined(name, "undefined on these samples", n=n, slice=slice, direction=direction)
    rng = np.random.default_rng([seed, n])
    sampled = (
        of_samples(statistic, n, m, draws, rng)
        if clusters is None
        else of_clusters(statistic, clusters, m, draws, rng)
    )
    sampled = np.sort(sampled[np.isfinite(sampled)])
    if len(sampled) == 0 or np.ptp(sampled) < 1e-12:
        estimator = "exact bound where nothing was seen to vary"
        quantiles = quantiles_of(lambda q: unseen(value, edges, units, q), edges)
    elif m < units:
        kind = "samples" if clusters is None else "clusters"
        estimator = f"bootstrap of {m:,} {kind}, scaled to {units:,}; bias-corrected interval"
        sampled = scaled(sampled, value, m / units)
        quantiles = corrected(sampled, edges, median_bias(sampled, value))
    elif clusters is None:
        estimator = f"BCa bootstrap, {draws} draws"
        skew = acceleration(statistic, n)
        quantiles = corrected(sampled, edges, median_bias(sampled, value), skew)
    else:
        estimator = "cluster bootstrap, percentile interval"
        quantiles = corrected(sampled, edges)
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


def of_samples(
    statistic: Statistic, n: int, m: int, draws: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """[draws] the statistic of m of the n samples, drawn with replacement; many draws at once."""
    chunk = max(1, 2_000_000 // max(m, 1))
    return np.concatenate(
        [
            statistic(rng.integers(0, n, size=(min(chunk, draws - at), m)))
            for at in range(0, draws, chunk)
        ]
    )


def of_clusters(
    statistic: Statistic,
    clusters: NDArray[Any],
    m: int,
    draws: int,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """[draws] the statistic of all samples of m clusters, drawn with replacement."""
    own, sizes = np.unique(clusters, return_inverse=True, return_counts=True)[1:]
    order, starts = np.argsort(own, kind="stable"), np.cumsum(sizes) - sizes

    def members(picked: NDArray[np.intp]) -> NDArray[np.intp]:
        """The samples of clusters, in a row."""
        each = sizes[picked]
        at = np.repeat(starts[picked] - np.cumsum(each) + each, each)
        return order[at + np.arange(each.sum())]

    return np.array(
        [statistic(members(rng.integers(0, len(sizes), m))[None])[0] for _ in range(draws)]
    )


def scaled(sampled: NDArray[np.float64], value: float, part: float) -> NDArray[np.float64]:
    """Draws of a `part` of the samples, as those of all: spread falls with the root, bias with the size."""
    middle = float(np.median(sampled))
    return np.asarray(value + (middle - value) * part + (sampled - middle) * np.sqrt(part))


def acceleration(statistic: Statistic, n: int) -> float:
    """How the statistic's spread changes with its value, from its skewness over the jackknife.

    Over at most 400 blocks of samples: it needs no more.
    """
    everything = np.arange(n)
    blocks = np.array_split(everything, min(n, 400))
    left_out = np.array([statistic(np.delete(everything, b)[None])[0] for b in blocks])
    gaps = np.nanmean(left_out) - left_out
    scale = float(np.nansum(gaps**2)) ** 1.5
    return float(np.nansum(gaps**3)) / (6 * scale) if scale > 0 else 0.0


def corrected(
    sampled: NDArray[np.float64], edges: Edges | None, shift: float = 0.0, skew: float = 0.0
) -> dict[str, float]:
    """Quantiles of the draws, kept in the statistic's range (Efron 1987).

    Args:
        shift: the bias of their median. skew: their acceleration. Both 0: plain percentiles.
    """
    low, high = edges or (None, None)
    quantiles = {}
    for q in QUANTILES:
        z = shift + ndtri(q)
        adjusted = ndtr(shift + z / (1 - skew * z))
        end = float(np.quantile(sampled, np.clip(adjusted, 0, 1)))
        end = end if low is None else max(end, low)
        quantiles[str(q)] = round(end if high is None else min(end, high), 12)
    return quantiles


def jackknife(
    name: str,
    statistic: Callable[[NDArray[np.intp]], float],
    n: int,
    *,
    clusters: NDArray[Any] | None = None,
    direction: str = "higher",
    unit: str = "",
    slice: Slice | None = None,
    edges: Edges | None = None,
) -> Metric:
    """A smooth statistic above 0 with a Student t interval of its logarithm.

    By the delete-a-group jackknife (Kott 2001). For statistics that a bootstrap distorts, as its draws hold
    fewer different samples than the data do.

    Args:
        statistic: maps indices [m] to a value.
        n: number of samples.
        clusters: [n] labels; whole clusters are then left out.
    """
    from scipy.special import stdtrit

    own = np.arange(n) if clusters is None else np.unique(clusters, return_inverse=True)[1]
    groups = min(int(own.max()) + 1, GROUPS) if n else 0
    value = float(statistic(np.arange(n))) if groups > 1 else 0.0
    left = [float(statistic(np.flatnonzero(own % groups != g))) for g in range(groups)]
    if groups < 2 or not value > 0 or min(left) <= 0:
        quantiles = quantiles_of(lambda q: unseen(value, edges, groups, q), edges)
        estimator = "exact bound where nothing was seen to vary"
    else:
        logs = np.log(left)
        error = float(np.sqrt(((logs - logs.mean()) ** 2).sum() * (groups - 1) / groups))
        estimator = (
            f"delete-a-group jackknife, {groups} groups; Student t interval of the logarithm"
        )
        quantiles = quantiles_of(
            lambda q: value * float(np.exp(stdtrit(groups - 1, q) * error)), edges
        )
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


def median_bias(sampled: NDArray[np.float64], value: float) -> float:
    """How far the value stands above the middle of the draws, in standard deviations (Efron 1987)."""
    below = (np.sum(sampled < value) + np.sum(sampled == value) / 2) / len(sampled)
    return float(ndtri(np.clip(below, 1 / len(sampled), 1 - 1 / len(sampled))))

"""Gaps and ratios between groups: the largest, with an interval that holds over all pairs at once.

Every group has limits of its own: mid-p ones for a share (Lancaster 1961; exact in kind, so that a
group of one or two is not believed), Student's t for a mean. A pair's interval recovers variances
from them (MOVER: Newcombe 1998; Zou and Donner 2008; ratios: Donner and Zou 2012). "Some pair
differs" is a union over pairs, so the lower end of the largest gap stands at the level of the
studentised range (Tukey; Hayter 1984: no more errors than stated where sizes differ); "no pair
differs by more" is an intersection (Berger 1982), so its upper end needs no correction.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.sparse import csr_array
from scipy.special import betainc, ndtr, ndtri, stdtrit

from audit.record import LimitedBy, Metric, Slice
from audit.statistics.intervals import QUANTILES, effective_n, undefined

Floats = NDArray[np.float64]
# Values or cluster labels of each group; or those of each rate, of which the largest gap counts.
Groups = Mapping[str, NDArray[Any]]
Rates = Mapping[str, Groups]
# Tails [T] → limits below and above of every group [T, G], each wrong at most that often.
Limits = Callable[[Floats], tuple[Floats, Floats]]
TAILS = np.array(QUANTILES[: QUANTILES.index(0.5)])
FEW = "fewer than two groups to compare"


def gap_between(
    name: str,
    successes: Groups | Rates,
    *,
    clusters: Groups | Rates | None = None,
    slice: Slice | None = None,
    direction: str = "lower",
) -> Metric:
    """The largest difference between the groups' shares, over all pairs and all rates at once.

    Args:
        successes: group → [n] booleans. Or of several rates, by what their base is ("with the
            positive label"): base → group → [n]. A group without a sample may be anywhere: the upper
            end says so.
        clusters: labels in the same arrangement, where samples come in clusters; one cluster may
            reach into several groups.

    Returns:
        The metric; `limited_by` names the smallest group. Undefined below two groups.
    """
    families = [shares(base, rate, clusters) for base, rate in by_rate(successes).items()]
    return largest(
        name,
        families,
        slice=slice,
        direction=direction,
        edges=(0.0, 1.0),
        unit="",
        what="shares; mid-p limits",
    )


def gap_between_means(
    name: str,
    values: Groups | Rates,
    *,
    clusters: Groups | Rates | None = None,
    slice: Slice | None = None,
    direction: str = "lower",
    unit: str = "",
    edges: tuple[float, float] | None = None,
) -> Metric:
    """The largest difference between the groups' means, as `gap_between`.

    Args:
        values: group → [n] floats, or base → group → [n].
        edges: the lowest and the highest that a value can be.
    """
    families = [means(base, rate, clusters, edges) for base, rate in by_rate(values).items()]
    between = (0.0, None if edges is None else edges[1] - edges[0])
    return largest(
        name,
        families,
        slice=slice,
        direction=direction,
        edges=between,
        unit=unit,
        what="means; Student t limits",
    )


def ratio_between(
    name: str,
    successes: Groups | Rates,
    *,
    clusters: Groups | Rates | None = None,
    slice: Slice | None = None,
    direction: str = "higher",
) -> Metric:
    """The smallest ratio between the groups' shares (the lowest over the highest), as `gap_between`.

    Undefined where no group has a success.
    """
    families = [shares(base, rate, clusters) for base, rate in by_rate(successes).items()]
    usable = [f for f in families if np.isfinite(f.values).sum() > 1]
    n = sum(f.n for f in families)
    if not usable or not any(np.nanmax(f.values) > 0 for f in usable):
        reason = "no group has a success" if usable else FEW
        return undefined(name, reason, n=n, slice=slice, direction=direction)
    value = min(
        float(np.nanmin(f.values) / np.nanmax(f.values)) for f in usable if np.nanmax(f.values) > 0
    )
    low = np.min([f.ratio_below(TAILS) for f in usable], axis=0)
    high = np.min([f.ratio_above(each(TAILS, len(usable))) for f in usable], axis=0)
    return finished(
        name,
        value,
        low,
        high,
        families,
        slice,
        direction,
        (0.0, 1.0),
        "",
        "smallest ratio of shares; mid-p limits",
    )


@dataclass
class Family:
    """The groups of one rate.

    names, values (NaN of a group without a sample), sizes: [G]; correlation: [G, G] between the
    groups' estimates, where clusters reach into several.
    """

    base: str
    names: list[str]
    values: Floats
    sizes: NDArray[np.intp]
    limits: Limits
    correlation: Floats | None = None

    @property
    def n(self) -> int:
        return int(self.sizes.sum())

    def together(self, tails: Floats) -> Floats:
        """The tails at which limits hold for all pairs at once, wrong in 2 `tails` of all cases."""
        ranges = [studentised_range(len(self.names), 1 - 2 * tail) for tail in tails.tolist()]
        return ndtr(-np.array(ranges) / np.sqrt(2))

    @functools.cached_property
    def centre(self) -> Floats:
        """[G] the values; the middle of what is possible for a group without a sample."""
        low, high = self.limits(TAILS[-1:])
        return np.where(np.isfinite(self.values), self.values, (low + high)[0] / 2)

    def spread(self, i: int, own: Floats, other: Floats) -> Floats:
        """Half-width [G] of group i against each, from the distances of their limits."""
        both = 0.0 if self.correlation is None else 2 * self.correlation[i] * own[i] * other
        return np.sqrt(np.maximum(own[i] ** 2 + other**2 - both, 0.0))

    def below(self, tails: Floats) -> Floats:
        """What the largest gap is at least [T], at the level of all pairs."""
        return np.array(
            [
                max(
                    float(
                        np.nanmax(
                            v - self.values - self.spread(i, self.values - low, high - self.values)
                        )
                    )
                    for i, v in enumerate(self.values)
                    if np.isfinite(v)
                )
                for low, high in zip(*self.limits(self.together(tails)), strict=True)
            ]
        )

    def above(self, tails: Floats) -> Floats:
        """What the largest gap is at most [T]: of every pair at the plain level."""
        c = self.centre
        others = ~np.eye(len(c), dtype=bool)
        return np.array(
            [
                max(
                    float((c[i] - c + self.spread(i, high - c, c - low))[others[i]].max())
                    for i in range(len(c))
                )
                for low, high in zip(*self.limits(tails), strict=True)
            ]
        )

    def ratio_below(self, tails: Floats) -> Floats:
        """What the smallest ratio is at least [T]: of every pair at the plain level."""
        c = self.centre
        return np.array(
            [
                self.root(c, c - low, high - c, larger=False)
                for low, high in zip(*self.limits(tails), strict=True)
            ]
        )

    def ratio_above(self, tails: Floats) -> Floats:
        """What the smallest ratio is at most [T], at the level of all pairs."""
        v = self.values
        return np.array(
            [
                self.root(v, high - v, v - low, larger=True)
                for low, high in zip(*self.limits(self.together(tails)), strict=True)
            ]
        )

    def root(self, centre: Floats, own: Floats, other: Floats, *, larger: bool) -> float:
        """The smallest r, of all pairs, where centre_i − r centre_j is `spread` away from 0."""
        least = 1.0
        for i, c in enumerate(centre):
            if not np.isfinite(c):
                continue
            both = 0.0 if self.correlation is None else self.correlation[i] * own[i] * other
            a, b, d = c * c - own[i] ** 2, c * centre - both, centre**2 - other**2
            root = np.sqrt(np.maximum(b * b - a * d, 0.0))
            with np.errstate(divide="ignore", invalid="ignore"):
                # Of d r² − 2 b r + a = 0 the larger root, or the smaller.
                ends = np.where(d > 0, (b + root) / d, np.inf) if larger else a / (b + root)
            if not larger and a <= 0:
                return 0.0
            ends[i] = np.nan
            least = min(least, float(np.nanmin(ends)))
        return max(least, 0.0)


def largest(
    name: str,
    families: list[Family],
    *,
    slice: Slice | None,
    direction: str,
    edges: tuple[float, float | None],
    unit: str,
    what: str,
) -> Metric:
    """The largest gap over all families of groups, with limits that hold for all pairs at once."""
    usable = [f for f in families if np.isfinite(f.values).sum() > 1]
    if not usable:
        n = sum(f.n for f in families)
        return undefined(name, FEW, n=n, slice=slice, direction=direction)
    value = max(float(np.nanmax(f.values) - np.nanmin(f.values)) for f in usable)
    low = np.max([f.below(each(TAILS, len(usable))) for f in usable], axis=0)
    # A rate that is known of one group only may be anything for the others.
    high = np.max([f.above(TAILS) for f in families if len(f.names) > 1], axis=0)
    return finished(
        name, value, low, high, families, slice, direction, edges, unit, f"largest gap of {what}"
    )


def finished(
    name: str,
    value: float,
    low: Floats,
    high: Floats,
    families: list[Family],
    slice: Slice | None,
    direction: str,
    edges: tuple[float, float | None],
    unit: str,
    what: str,
) -> Metric:
    """A gap as a metric: quantiles clipped to what is possible, and the groups that limit it."""
    ends = zip([*TAILS, *(1 - TAILS[::-1])], [*low, *high[::-1]], strict=True)
    quantiles = {
        str(round(q, 6)): round(float(np.clip(end, *edges)), 12)
        for q, end in ends
        if np.isfinite(end)
    }
    n, smallest = min(
        (int(size), f"{group} {f.base}".strip())
        for f in families
        for group, size in zip(f.names, f.sizes, strict=True)
    )
    return Metric(
        name=name,
        value=value,
        low=quantiles["0.025"],
        high=quantiles.get("0.975"),
        n=sum(f.n for f in families),
        unit=unit,
        direction=cast(Any, direction),
        slice=slice or {},
        edges=edges,
        limited_by=LimitedBy(what=smallest, n=n),
        estimator=f"{what}, recovered variances, studentised range over pairs",
        sufficient={"quantiles": quantiles},
    )


def each(tails: Floats, rates: int) -> Floats:
    """The tails of each of several independent rates (Šidák 1967)."""
    return (1 - (1 - 2 * tails) ** (1 / rates)) / 2


def by_rate(groups: Groups | Rates) -> Rates:
    """The groups by what their base is; a single rate has the base ''."""
    nested = any(isinstance(item, Mapping) for item in groups.values())
    return cast(Rates, groups) if nested else {"": cast(Groups, groups)}


def shares(base: str, groups: Groups, clusters: Groups | Rates | None) -> Family:
    """A family of groups compared by shares, with what their samples are worth in clusters."""
    names = list(groups)
    sizes = np.array([len(groups[g]) for g in names])
    with np.errstate(invalid="ignore"):
        values = np.array([np.sum(groups[g], dtype=float) for g in names]) / sizes
    worth = sizes.astype(float)
    correlation = None
    if clusters is not None:
        own = by_rate(clusters)[base]
        worth, correlation = clustered(groups, own, values)
    hits = np.where(sizes > 0, values, 0.0) * worth

    def limits(tails: Floats) -> tuple[Floats, Floats]:
        return mid_p(hits, worth, tails[:, None])

    return Family(base, names, values, sizes, limits, correlation)


def means(
    base: str, groups: Groups, clusters: Groups | Rates | None, edges: tuple[float, float] | None
) -> Family:
    """A family of groups compared by means, with what their samples are worth in clusters."""
    names = list(groups)
    sizes = np.array([len(groups[g]) for g in names])
    data = [np.asarray(groups[g], dtype=np.float64) for g in names]
    values = np.array([d.mean() if len(d) else np.nan for d in data])
    worth, correlation = sizes.astype(float), None
    if clusters is not None:
        worth, correlation = clustered(groups, by_rate(clusters)[base], values)
    # Each group's variance leans, by the weight of one sample, on that of all: a group of one has
    # none of its own, and values that happen to be alike are not certain.
    squares = np.array([((d - d.mean()) ** 2).sum() if len(d) else 0.0 for d in data])
    together = np.concatenate(data) if len(data) else np.zeros(0)
    within = squares.sum() / max(len(together) - np.sum(sizes > 0), 1)
    largest_ = max(float(np.abs(together).max(initial=0.0)), 1.0)
    if within <= (1e-12 * largest_) ** 2 and len(together):
        scale = edges[1] - edges[0] if edges else largest_
        within = max(float(together.var()), scale**2 / len(together))
    errors = np.sqrt((squares + within) / np.maximum(sizes, 1) / np.maximum(worth, 1))

    def limits(tails: Floats) -> tuple[Floats, Floats]:
        half = -stdtrit(np.maximum(worth - 1, 1), tails[:, None]) * errors
        half = np.where(sizes > 0, half, np.inf)
        centre = np.where(sizes > 0, values, 0.0 if edges is None else sum(edges) / 2)
        if edges is None:
            return centre - half, centre + half
        return np.clip(centre - half, *edges), np.clip(centre + half, *edges)

    return Family(base, names, values, sizes, limits, correlation)


def clustered(groups: Groups, clusters: Groups, values: Floats) -> tuple[Floats, Floats | None]:
    """What each group's samples are worth [G], and how the groups' estimates hang together [G, G]."""
    names = list(groups)
    worth = np.array(
        [
            effective_n(np.asarray(groups[g], dtype=np.float64), clusters[g])
            if len(groups[g])
            else 0.0
            for g in names
        ]
    )
    labels = np.concatenate([clusters[g] for g in names])
    group = np.repeat(np.arange(len(names)), [len(groups[g]) for g in names])
    _, cluster = np.unique(labels, return_inverse=True)
    residuals = np.concatenate([groups[g] for g in names]).astype(float) - values[group]
    sums = csr_array((residuals, (group, cluster)))
    sums.sum_duplicates()
    products = (sums @ sums.T).toarray()
    norms = np.sqrt(products.diagonal())
    scale = np.outer(norms, norms)
    correlation = np.where(scale > 0, products / np.where(scale > 0, scale, 1.0), 0.0)
    # As if four more clusters had nothing in common: few that agree do not make a difference certain.
    correlation *= sums.shape[1] / (sums.shape[1] + 4)
    np.fill_diagonal(correlation, 0.0)
    return worth, correlation if np.any(correlation) else None


def mid_p(successes: Floats, sizes: Floats, tails: Floats) -> tuple[Floats, Floats]:
    """Mid-p limits of shares: exact binomial tails in which what was seen counts half.

    Args:
        successes, sizes: [G]; need not be whole (clusters). Size 0: (0, 1).
        tails: [T, 1].

    Returns:
        (low, high), each [T, G].
    """

    def limit(k: Floats) -> Floats:
        """The share below which k successes or more are seen too seldom."""
        missed = sizes - k
        low, high = np.zeros((len(tails), len(k))), np.ones((len(tails), len(k)))
        for _ in range(44):
            middle = (low + high) / 2
            more = np.where(missed > 0, betainc(k + 1, np.maximum(missed, 1e-12), middle), 0.0)
            same = betainc(np.maximum(k, 1e-12), missed + 1, middle)
            seldom = more + same < 2 * tails
            low, high = np.where(seldom, middle, low), np.where(seldom, high, middle)
        return np.where(k > 0, low, 0.0)

    successes = np.clip(successes, 0.0, sizes)
    return limit(successes), 1.0 - limit(sizes - successes)


@functools.lru_cache(maxsize=512)
def studentised_range(groups: int, level: float) -> float:
    """The quantile of the range of `groups` independent standard normal numbers (Tukey)."""
    if groups == 2:
        return float(np.sqrt(2) * ndtri((1 + level) / 2))
    z = np.linspace(-9, 21, 1501)
    density, below = np.exp(-z * z / 2) / np.sqrt(2 * np.pi), ndtr(z)

    def excess(width: float) -> float:
        inside = np.maximum(below - ndtr(z - width), 0.0) ** (groups - 1)
        return float(groups * np.trapezoid(density * inside, z) - level)

    return float(brentq(excess, 1e-6, 30.0, xtol=1e-10))

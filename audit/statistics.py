"""Intervals, paired tests and multiplicity. Every function that makes an interval says which.

numpy and scipy only: records are judged again where no torch is installed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from audit.record import Metric, Slice

LEVEL = 0.95
# Kept with every bootstrap metric, so that an interval at another level can be read off it.
QUANTILES = (0.0005, 0.0025, 0.005, 0.0125, 0.025, 0.05, 0.5,
             0.95, 0.975, 0.9875, 0.995, 0.9975, 0.9995)  # fmt: skip


def wilson(successes: float, n: float, level: float = LEVEL) -> tuple[float, float]:
    """Wilson score interval of a proportion (Wilson 1927).

    Args:
        successes: in [0, n]; need not be whole (an effective count under clustering).
        n: > 0.

    Returns:
        (low, high), each in [0, 1].
    """
    from scipy.stats import norm

    z = float(norm.ppf(0.5 + level / 2))
    p = successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low = 0.0 if successes <= 0 else max(0.0, float(centre - half))
    high = 1.0 if successes >= n else min(1.0, float(centre + half))
    return low, high


def effective_n(values: NDArray[np.float64], clusters: NDArray[Any]) -> float:
    """Samples that clustered data are worth: n over the design effect (Kish 1965, 5.4).

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
    residuals = np.bincount(inverse, weights=values - values.mean())
    clustered = float((residuals**2).sum()) * k / (k - 1) / n**2
    return float(np.clip(n / max(clustered / (variance / n), 1e-12), 1.0, n))


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
        slice=slice or {}, estimator=estimator,
        sufficient={"successes": round(p * size, 9), "n": round(size, 9)},
    )  # fmt: skip


def undefined(
    name: str, reason: str, *, n: int = 0, slice: Slice | None = None, direction: str = "none"
) -> Metric:
    """A metric that has no value, and why."""
    return Metric(
        name=name, value=None, n=n, slice=slice or {}, reason=reason,
        direction=direction,  # type: ignore[arg-type]
    )  # fmt: skip


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


def tango(gained: float, lost: float, n: float, q: float) -> float:
    """The `q` quantile of the difference of two paired shares (Tango 1998): where the score test of
    that difference has its critical value.

    Args:
        gained, lost: pairs of `n` that went from no to yes, and from yes to no; need not be whole.
    """
    from scipy.optimize import brentq
    from scipy.stats import norm

    z = float(norm.ppf(q))

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


def census(
    name: str, value: float, n: int, *, unit: str = "", slice: Slice | None = None
) -> Metric:
    """A count or share of all there is, not of a sample: the interval is the number itself."""
    return Metric(
        name=name, value=value, low=value, high=value, n=n, unit=unit, direction="lower",
        slice=slice or {}, estimator=f"count of all{' ' + unit if unit else ''}",
        sufficient={"quantiles": {str(QUANTILES[0]): value, str(QUANTILES[-1]): value}},
    )  # fmt: skip


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


def largest_gap(
    successes: Sequence[float], sizes: Sequence[float], level: float = LEVEL
) -> tuple[float, float, float]:
    """Largest difference between group rates with a simultaneous interval.

    The interval is the range of max − min over the box of simultaneous Wilson intervals, which
    keeps its coverage where all groups are equal and a percentile bootstrap does not.

    Returns:
        (difference, low, high), each in [0, 1].
    """
    rates = [s / n for s, n in zip(successes, sizes, strict=True)]
    box = [
        wilson(s, n, corrected_level(len(sizes), level))
        for s, n in zip(successes, sizes, strict=True)
    ]
    low = max(0.0, max(b[0] for b in box) - min(b[1] for b in box))
    high = max(
        box[i][1] - box[j][0] for i in range(len(box)) for j in range(len(box)) if i != j
    )
    return max(rates) - min(rates), low, min(1.0, high)


def largest_gap_of_means(
    groups: Sequence[NDArray[np.float64]], level: float = LEVEL
) -> tuple[float, float, float]:
    """Largest difference between group means with a simultaneous interval, as `largest_gap`.

    Args:
        groups: [n] values of each group, n ≥ 2.
    """
    from scipy.stats import t

    each = corrected_level(len(groups), level)
    means = [float(g.mean()) for g in groups]
    half = [
        float(t.ppf(0.5 + each / 2, len(g) - 1) * g.std(ddof=1) / np.sqrt(len(g))) for g in groups
    ]
    box = [(m - h, m + h) for m, h in zip(means, half, strict=True)]
    low = max(0.0, max(b[0] for b in box) - min(b[1] for b in box))
    high = max(
        box[i][1] - box[j][0] for i in range(len(box)) for j in range(len(box)) if i != j
    )
    return max(means) - min(means), low, high


def smallest_ratio(
    successes: Sequence[float], sizes: Sequence[float], level: float = LEVEL
) -> tuple[float | None, float, float]:
    """Smallest ratio between group rates with a simultaneous interval, as `largest_gap`.

    Returns:
        (ratio, low, high); the ratio is None where no group has a success.
    """
    rates = [s / n for s, n in zip(successes, sizes, strict=True)]
    box = [
        wilson(s, n, corrected_level(len(sizes), level))
        for s, n in zip(successes, sizes, strict=True)
    ]
    ratio = min(rates) / max(rates) if max(rates) > 0 else None
    top = max(b[0] for b in box)
    high = min(1.0, min(b[1] for b in box) / top) if top > 0 else 1.0
    bottom = max(b[1] for b in box)
    return ratio, min(b[0] for b in box) / bottom if bottom > 0 else 0.0, high


def mcnemar(before: ArrayLike, after: ArrayLike) -> tuple[int, int, float]:
    """Exact McNemar test on paired outcomes (McNemar 1947, exact binomial form).

    Args:
        before, after: [n] booleans, true where the outcome was good.

    Returns:
        (lost, gained, two-sided p).
    """
    from scipy.stats import binomtest

    old, new = np.asarray(before, bool), np.asarray(after, bool)
    lost, gained = int(np.sum(old & ~new)), int(np.sum(~old & new))
    if lost + gained == 0:
        return 0, 0, 1.0
    return lost, gained, float(binomtest(lost, lost + gained, 0.5).pvalue)


def calibration_bins(
    confidence: NDArray[np.float64], correct: NDArray[Any], bins: int, equal_mass: bool = False
) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Bin samples by confidence.

    Returns:
        (bin of each sample [n], share [bins], mean confidence [bins], accuracy [bins]);
        empty bins have share 0 and NaN means.
    """
    if equal_mass:
        edges = np.unique(np.quantile(confidence, np.linspace(0, 1, bins + 1)[1:-1]))
        index = np.searchsorted(edges, confidence, side="left")
    else:
        index = np.clip(np.ceil(confidence * bins).astype(np.intp) - 1, 0, bins - 1)
    size = np.bincount(index, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean_confidence = np.bincount(index, weights=confidence, minlength=bins) / size
        accuracy = np.bincount(index, weights=np.asarray(correct, float), minlength=bins) / size
    return index, size / len(confidence), mean_confidence, accuracy


def binned_calibration_error(
    confidence: ArrayLike,
    correct: ArrayLike,
    bins: int = 15,
    norm: str = "l1",
    equal_mass: bool = False,
) -> float:
    """Expected calibration error over bins (Naeini et al. 2015; Guo et al. 2017).

    Args:
        confidence: [n] in [0, 1].
        correct: [n] booleans.
        norm: 'l1' (the usual ECE), 'l2' (root mean square) or 'max'.
        equal_mass: bins of as many samples each, instead of equal width.
    """
    _, share, conf, acc = calibration_bins(
        np.asarray(confidence, dtype=np.float64), np.asarray(correct), bins, equal_mass
    )
    used = share > 0
    gap = np.abs(acc - conf)[used]
    if norm == "l1":
        return float((share[used] * gap).sum())
    if norm == "l2":
        return float(np.sqrt((share[used] * gap**2).sum()))
    return float(gap.max())


def calibration_error(
    confidence: ArrayLike, correct: ArrayLike, *, bins: int = 15, seed: int = 0, draws: int = 2000
) -> Metric:
    """Debiased ECE with an interval that keeps zero where the model is calibrated.

    Plain ECE is positive even for a calibrated model. The value is what is left after the mean
    under calibration is taken off; the lower end takes off its 97.5 % quantile under calibration
    (consistency resampling, Bröcker and Smith 2007), so that low > 0 is a test against
    calibration at 2.5 %. The upper end is the percentile bootstrap's. Bins of equal mass.

    Args:
        confidence: [n] in [0, 1].
        correct: [n] booleans.
    """
    p, hit = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    n = len(p)
    bins = max(2, min(bins, n // 20))
    index, share, _, _ = calibration_bins(p, hit, bins, equal_mass=True)
    used = len(share)
    membership = np.zeros((n, used))
    membership[np.arange(n), index] = 1 / n
    observed = binned_calibration_error(p, hit, bins, equal_mass=True)
    rng = np.random.default_rng([seed, n, 1])
    null = np.empty(draws)
    boot = np.empty(draws)
    chunk = max(1, 2_000_000 // n)
    for at in range(0, draws, chunk):
        size = min(chunk, draws - at)
        labels = rng.random((size, n)) < p
        null[at : at + size] = np.abs((labels - p) @ membership).sum(1)
        weights = rng.multinomial(n, np.full(n, 1 / n), size=size)
        boot[at : at + size] = np.abs((weights * (hit - p)) @ membership).sum(1)
    value = max(0.0, observed - float(null.mean()))
    quantiles = {}
    for q in QUANTILES:
        if q < 0.5:
            bound = max(0.0, observed - float(np.quantile(null, 1 - q)))
            quantiles[str(q)] = round(min(bound, value), 12)
        else:
            quantiles[str(q)] = round(max(float(np.quantile(boot, q)), value), 12)
    return Metric(
        name="calibration_error", value=value, low=quantiles["0.025"], high=quantiles["0.975"],
        n=n, direction="lower", estimator=f"debiased ECE, {used} bins of equal mass; "
        "consistency resampling below, percentile bootstrap above",
        sufficient={"quantiles": quantiles},
    )  # fmt: skip

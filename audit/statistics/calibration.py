"""How far confidence and accuracy are apart, and whether they are apart at all.

Plain ECE adds up the noise of every bin, so it is above zero for a calibrated model; taking off what
a calibrated model would show is right at zero only. Here samples fall into many small cells, whose
true gaps are believed to be normal and alike where confidences are near (empirical Bayes: Morris
1983), with the variance that is left when the noise is taken off.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, stdtrit

from audit.record import Metric, Slice
from audit.statistics.intervals import QUANTILES, undefined, unseen

Floats = NDArray[np.float64]
FOLDS = 20
FEWEST, MOST = 10, 60  # samples in a cell, cells in a group
NEAR = 5.0  # gaps at the two ends of the confidences are alike by exp(-NEAR)


def calibration_error(
    confidence: ArrayLike,
    correct: ArrayLike,
    *,
    name: str = "calibration_error",
    within: NDArray[Any] | None = None,
    clusters: NDArray[Any] | None = None,
    slice: Slice | None = None,
) -> Metric:
    """The mean absolute gap (l1) between confidence and accuracy.

    The value is the mean of two: what is expected of the cells' gaps given what was seen, which
    errs upwards, and the mean of sign × gap with signs from other folds, which errs downwards; it is
    never below the overall gap, which the error cannot undercut. The lower end rejects "the error
    is at most e": sign × gap has at most that mean, whatever the signs. Where signs are open it is
    two-sided.

    Args:
        confidence: [n] in [0, 1].
        correct: [n] booleans.
        within: [n] labels; errors that cancel between them do not cancel here.
        clusters: [n] labels; folds are of whole clusters, and noise is counted by cluster.
    """
    p, hit = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    n = len(p)
    own = np.arange(n) if clusters is None else np.unique(clusters, return_inverse=True)[1]
    units = int(own.max()) + 1 if n else 0
    if units < 2:
        reason = "fewer than two samples" if n < 2 else "one cluster only"
        return undefined(name, reason, n=n, slice=slice, direction="lower")
    cells, gaps = cells_of(p, within), p - hit
    noise = noise_of(p, hit, cells.of, own, clusters is not None)
    # In an order that has nothing to do with the cells.
    fold = (np.random.default_rng([units, n]).permutation(units) % min(FOLDS, units))[own]
    folds = int(fold.max()) + 1
    size, total, variance = (
        np.bincount(
            fold * cells.count + cells.of, weights=w, minlength=folds * cells.count
        ).reshape(folds, cells.count)
        for w in (np.ones(n), gaps, noise)
    )
    whole = size.sum(0), total.sum(0), variance.sum(0)
    mean, left = (part[0] for part in believed(cells, *(part[None] for part in whole)))
    expected = float((whole[0] * folded(mean, np.sqrt(left))).sum() / n)
    others = (whole[0] - size, whole[1] - total, np.maximum(whole[2] - variance, 0.0))
    mean, left = believed(cells, *others)
    signed = np.sign(mean)[fold, cells.of] * gaps
    doubt = 2 * folded_tail(mean, np.sqrt(left))[fold, cells.of]
    shown = float(signed.mean())
    value = max((expected + shown) / 2, abs(float(gaps.mean())))
    sums = np.bincount(own, weights=signed - shown) ** 2
    if clusters is None:  # where every answer is right the gaps alone would be certain
        sums = np.maximum(sums, noise * np.sum(noise) / max(np.sum(noise), 1e-300))
    scale = np.sqrt(units / (units - 1)) / n
    open_ = np.bincount(own, weights=doubt) / np.bincount(own)
    quantiles = {}
    for q in QUANTILES:
        student = float(stdtrit(units - 1, q))
        if q < 0.5:
            both = float(stdtrit(units - 1, q / 2)) ** 2 - student**2
            reach = np.sqrt(np.sum(sums * (student**2 + open_ * both)))
            end = min(shown - reach * scale, value)
        else:
            end = max(value, expected) + student * np.sqrt(np.sum(sums)) * scale
            if hit.min() == hit.max():  # of a wrong answer, say, nothing was seen
                end = max(end, unseen(value, (0.0, 1.0), units, q))
        quantiles[str(q)] = round(float(np.clip(end, 0.0, 1.0)), 12)
    return Metric(
        name=name,
        value=value,
        low=quantiles["0.025"],
        high=quantiles["0.975"],
        n=n,
        direction="lower",
        slice=slice or {},
        edges=(0.0, 1.0),
        estimator=f"mean absolute gap over {cells.count} cells, empirical Bayes and signs from other "
        f"folds{' of clusters' if clusters is not None else ''}; the test at the bound inverted",
        sufficient={"quantiles": quantiles},
    )


def calibration_test(
    confidence: ArrayLike,
    correct: ArrayLike,
    *,
    clusters: NDArray[Any] | None = None,
    bins: int = 15,
    seed: int = 0,
    draws: int = 2000,
) -> Metric:
    """The p of "perfectly calibrated": how often plain ECE would be as large.

    Without clusters by consistency resampling (Bröcker and Smith 2007): every answer is right with
    the probability that is said. With clusters the signs of whole clusters' gaps are drawn anew
    (wild bootstrap: Cameron, Gelbach and Miller 2008). Large samples by their normal limit.
    """
    p, hit = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    n = len(p)
    own = np.arange(n) if clusters is None else np.unique(clusters, return_inverse=True)[1]
    count = max(1, min(bins, len(np.unique(own)) // 20))
    bin_ = np.empty(n, np.intp)
    bin_[np.lexsort((np.random.default_rng(n).random(n), p))] = np.arange(n) * count // max(n, 1)
    seen = np.abs(np.bincount(bin_, weights=p - hit, minlength=count)).sum()
    rng = np.random.default_rng([seed, n, 2])
    if clusters is not None:
        sums = np.zeros((int(own.max()) + 1, count))
        np.add.at(sums, (own, bin_), p - hit)
        if len(sums) <= MANY:
            drawn = rng.choice([-1.0, 1.0], size=(draws, len(sums))) @ sums
        else:
            drawn = rng.multivariate_normal(
                np.zeros(count), sums.T @ sums, size=draws, method="eigh"
            )
    elif n <= MANY:
        drawn = np.concatenate(
            [
                bin_sums(p - (rng.random((min(50, draws - at), n)) < p), bin_, count)
                for at in range(0, draws, 50)
            ]
        )
    else:
        drawn = rng.normal(size=(draws, count)) * np.sqrt(
            np.bincount(bin_, weights=p * (1 - p), minlength=count)
        )
    value = (1 + int(np.sum(np.abs(drawn).sum(1) >= seen - 1e-9))) / (draws + 1)
    return Metric(
        name="calibration_test_p",
        value=value,
        low=value,
        high=value,
        n=n,
        edges=(0.0, 1.0),
        estimator=f"p of perfect calibration, plain ECE of {count} bins; "
        + ("consistency resampling" if clusters is None else "wild bootstrap of clusters"),
        sufficient={"quantiles": {str(QUANTILES[0]): value, str(QUANTILES[-1]): value}},
    )


MANY = 5000


def bin_sums(values: Floats, bin_: NDArray[np.intp], count: int) -> Floats:
    """[b, n] values → their sums [b, count] by bin."""
    order = np.argsort(bin_, kind="stable")
    starts = np.searchsorted(bin_[order], np.arange(count))
    return np.add.reduceat(values[:, order], starts, axis=1)


@dataclass
class Cells:
    """Cells of like confidence, one group's after another's.

    of: [n] the cell of each sample; bounds: [groups + 1] the cells at which groups begin.
    """

    of: NDArray[np.intp]
    bounds: NDArray[np.intp]

    @property
    def count(self) -> int:
        return int(self.bounds[-1])


def cells_of(p: Floats, within: NDArray[Any] | None) -> Cells:
    """Cells of equally many samples, of each label apart."""
    label = (
        np.zeros(len(p), np.intp) if within is None else np.unique(within, return_inverse=True)[1]
    )
    sizes = np.bincount(label)
    most = np.maximum(15, np.sqrt(sizes))
    number = np.clip(sizes // FEWEST, 1, np.minimum(most, MOST)).astype(np.intp)
    # Equal confidences by lot: the order of the data may tell right from wrong.
    order = np.lexsort((np.random.default_rng(len(p)).random(len(p)), p, label))
    rank = np.empty(len(p), np.intp)
    rank[order] = np.arange(len(p)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    bounds = np.concatenate([[0], np.cumsum(number)])
    return Cells(bounds[label] + rank * number[label] // sizes[label], bounds)


def noise_of(
    p: Floats, hit: Floats, cell: NDArray[np.intp], own: NDArray[np.intp], clustered: bool
) -> Floats:
    """[n] each sample's part in the variance of its cell's sum of gaps."""
    size = np.bincount(cell)
    some = np.maximum(size, 1)
    # As if one sample more were right as often as it is sure: no cell is certain.
    rate = (np.bincount(cell, weights=hit) + np.bincount(cell, weights=p) / some) / (size + 1)
    plain = (rate * (1 - rate))[cell]
    if not clustered:
        return plain
    both = np.unique(own * (int(cell.max()) + 1) + cell, return_inverse=True)[1]
    sums = np.bincount(both, weights=p - hit)
    each = np.maximum(plain, (sums**2 / np.bincount(both))[both])
    # A cluster that lies in several cells moves all of them together.
    whole = np.bincount(own, weights=p - hit - (p - hit).mean())
    return each * max(1.0, float((whole**2).sum() / max(each.sum(), 1e-300)))


def believed(cells: Cells, size: Floats, total: Floats, variance: Floats) -> tuple[Floats, Floats]:
    """Mean and variance of what each cell's true gap is believed to be.

    Args:
        size, total, variance: [b, cells] samples, sums of gaps and variances of these sums.
    """
    weight = size / np.maximum(size.sum(1, keepdims=True), 1)
    some = np.maximum(size, 1)
    gap, error = total / some, variance / some**2 + np.where(size > 0, 1e-12, 1e12)
    centre = (weight * gap).sum(1, keepdims=True)
    seen = (weight * (gap - centre) ** 2).sum(1, keepdims=True)
    chance = (weight * (1 - weight) * np.where(size > 0, error, 0.0)).sum(1, keepdims=True)
    room = np.maximum(1 - (weight**2).sum(1, keepdims=True), 1e-12)
    true = (np.maximum(seen - chance, 0.0) / room)[:, :, None]
    mean, left = np.empty_like(gap), np.empty_like(gap)
    groups = len(cells.bounds) - 1
    for a, b in zip(cells.bounds[:-1], cells.bounds[1:], strict=True):
        apart = np.abs(np.subtract.outer(np.arange(b - a), np.arange(b - a)))
        alike = np.exp(-NEAR * apart / (b - a))
        if groups > 1:  # a group has a gap of its own, beside its cells
            alike = (1 + alike) / 2
        prior = true * alike
        pull = np.linalg.solve(prior + np.eye(b - a) * error[:, None, a:b], prior)
        mean[:, a:b] = centre + np.einsum("fij,fi->fj", pull, gap[:, a:b] - centre)
        left[:, a:b] = true[:, :, 0] - np.einsum("fij,fij->fj", prior, pull)
    own = (weight**2 * np.where(size > 0, error, 0.0)).sum(1, keepdims=True)
    return mean, np.maximum(left, 0.0) + own


def folded(mean: Floats, spread: Floats) -> Floats:
    """The mean of |normal(mean, spread)|."""
    z = mean / np.maximum(spread, 1e-150)
    return spread * np.sqrt(2 / np.pi) * np.exp(-z * z / 2) + mean * (1 - 2 * ndtr(-z))


def folded_tail(mean: Floats, spread: Floats) -> Floats:
    """How likely the sign of the mean is wrong."""
    return ndtr(-np.abs(mean) / np.maximum(spread, 1e-150))

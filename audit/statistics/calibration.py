"""Is what is said to be 90 % sure right 9 times in 10?"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from audit.record import Metric
from audit.statistics.intervals import QUANTILES


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

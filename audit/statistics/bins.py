"""Expected calibration error as the textbooks have it: binned, and biased upwards."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


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

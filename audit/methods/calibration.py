"""Temperature scaling and the risk–coverage curve."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize_scalar
from scipy.special import logsumexp


def fit_temperature(logits: NDArray[np.float64], y: NDArray[np.intp]) -> tuple[float, float, float]:
    """The temperature T that makes softmax(logits / T) most likely (Guo et al. 2017, 4.2).

    Args:
        logits: [n, classes].
        y: [n] class indices.

    Returns:
        (T, low, high): T > 1 where the model is overconfident; the interval is where twice the
        log-likelihood falls by less than 3.84 (95 %). Bounded to [0.01, 100].
    """
    true = logits[np.arange(len(y)), y]

    def loss(log_t: float) -> float:
        scale = np.exp(-log_t)
        return float((logsumexp(logits * scale, axis=1) - true * scale).sum())

    edge = np.log(100.0)
    best = float(minimize_scalar(loss, bounds=(-edge, edge), method="bounded").x)
    floor = loss(best)

    def excess(log_t: float) -> float:
        return 2 * (loss(log_t) - floor) - 3.841458820694124

    low = float(brentq(excess, -edge, best)) if excess(-edge) > 0 else -edge
    high = float(brentq(excess, best, edge)) if excess(edge) > 0 else edge
    return float(np.exp(best)), float(np.exp(low)), float(np.exp(high))


def aurc(confidence: NDArray[np.float64], correct: NDArray[np.float64]) -> NDArray[np.float64]:
    """Area under the risk–coverage curve (Geifman and El-Yaniv 2017), by trapezoids.

    Args:
        confidence, correct: [b, n], n > 1: b resamples at once.

    Returns:
        [b] mean error rate over all coverages; 0 where every error is less confident than every
        right answer and coverage ends before them.
    """
    order = np.argsort(-confidence, axis=1, kind="stable")
    errors = 1.0 - np.take_along_axis(correct, order, axis=1)
    n = errors.shape[1]
    risk = errors.cumsum(1) / np.arange(1, n + 1)
    return (risk.sum(1) - (risk[:, 0] + risk[:, -1]) / 2) / (n - 1)

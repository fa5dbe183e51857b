"""Tests of outcomes on the same samples."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


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

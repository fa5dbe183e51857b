"""Gaps between groups by boxes of Wilson intervals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from audit.statistics.intervals import LEVEL, corrected_level, wilson


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

"""Samples that stand in the data more than once: copies tell no more than one of them does.

Two rows of a table may be alike without one being a copy: people of whom little is written down. So
samples are copies only where many more are alike than would be by chance, were their features
independent.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

BEYOND_CHANCE = 10.0
PARTS = 32  # of an input, at most, that chance is reckoned from


def copies(
    digests: Sequence[str], x: NDArray, y: NDArray | None, features: Sequence[Sequence[int]] = ()
) -> NDArray[np.str_] | None:
    """Cluster labels [n] of the samples, copies alike; None where there are none.

    Args:
        digests: [n] of input and label.
        x, y: [n, ...], [n].
        features: of a table, the columns of each feature.
    """
    labels = np.array(digests)
    sizes = np.unique(labels, return_counts=True)[1] if len(labels) else np.zeros(0, int)
    alike = float((sizes * (sizes - 1)).sum()) / 2
    if alike == 0 or alike <= BEYOND_CHANCE * by_chance(x, y, features):
        return None
    return labels


def by_chance(x: NDArray, y: NDArray | None, features: Sequence[Sequence[int]]) -> float:
    """Pairs of samples that would be alike if features were independent of each other."""
    n = len(x)
    flat = x.reshape(n, -1)
    if not features:
        spread = flat.astype(np.float32).std(0)
        most = np.argsort(-spread, kind="stable")[:PARTS]
        features = [[int(i)] for i in most]
    chance = 1.0
    for columns in features:
        _, sizes = np.unique(flat[:, list(columns)], axis=0, return_counts=True)
        chance *= float(((sizes / n) ** 2).sum())
    if y is not None:
        _, sizes = np.unique(y, return_counts=True)
        chance *= float(((sizes / n) ** 2).sum())
    return chance * n * (n - 1) / 2

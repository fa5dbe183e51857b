"""Which samples lie next to each other?"""

from __future__ import annotations

import torch
from torch import Tensor

CHUNK = 1 << 25  # distances held at once


def nearest_gap(
    x: Tensor, reference: Tensor, spread: Tensor, itself: Tensor | None = None
) -> Tensor:
    """[n] largest difference, over the values of a sample, to its nearest neighbour.

    The neighbour is the nearest by Euclidean distance, in units of `spread`.

    Args:
        x: [n, ...]; reference: [m, ...]; spread: [1, ...] > 0.
        itself: [n] where each sample stands in `reference`, as none is its own neighbour.
    """
    a, b = (x.float() / spread).flatten(1), (reference.float() / spread).flatten(1)
    found = torch.empty(len(a))
    size = max(1, CHUNK // max(len(b), 1))
    for start in range(0, len(a), size):
        part = a[start : start + size]
        distance = torch.cdist(part, b)
        if itself is not None:
            distance[torch.arange(len(part)), itself[start : start + size]] = torch.inf
        near = b[distance.argmin(1)]
        found[start : start + size] = (part - near).abs().amax(1)
    return found

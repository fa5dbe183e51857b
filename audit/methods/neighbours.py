"""Which samples lie next to each other?"""

from __future__ import annotations

import torch
from torch import Tensor

CHUNK = 1 << 25  # distances held at once, and values of samples
FEWEST = 64  # samples that are compared with as many at least


MISSING = 100.0  # units off


def nearest_gap(
    x: Tensor, reference: Tensor, spread: Tensor, itself: Tensor | None = None
) -> Tensor:
    """[n] largest difference, over the values of a sample, to its nearest neighbour.

    The neighbour is the nearest by Euclidean distance, in units of `spread`.

    Args:
        x: [n, ...]; reference: [m, ...]; spread: [1, ...] > 0.
        itself: [n] where each sample stands in `reference`, as none is its own neighbour.
    """
    found = torch.empty(len(x))
    block = max(FEWEST, CHUNK // max(x[0].numel(), 1))  # of the reference
    size = min(block, max(1, CHUNK // max(min(block, len(reference)), 1)))
    for start in range(0, len(x), size):
        part = units(x[start : start + size], spread)
        least = torch.full((len(part),), torch.inf)
        gap = torch.empty(len(part))
        for first in range(0, len(reference), block):
            others = units(reference[first : first + block], spread)
            distance = torch.cdist(part, others)
            if itself is not None:
                own = itself[start : start + size] - first
                here = ((own >= 0) & (own < len(others))).nonzero()[:, 0]
                distance[here, own[here]] = torch.inf
            nearest, at = distance.min(1)
            closer = nearest < least
            gap[closer] = (part[closer] - others[at[closer]]).abs().amax(1)
            least = torch.minimum(least, nearest)
        found[start : start + size] = gap
    return found


def units(x: Tensor, spread: Tensor) -> Tensor:
    """Samples [n, ...] as rows, in units of their spread; what is missing is alike, and like nothing else."""
    return (x.float() / spread).flatten(1).nan_to_num(nan=MISSING)

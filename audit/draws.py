"""Random numbers that belong to samples, not to the batch that they come in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Draws:
    """Random numbers of samples.

    Attributes:
        seeds: [n] one for each sample.
    """

    seeds: NDArray[np.uint64]

    @classmethod
    def of(cls, seed: int | Draws, n: int) -> Draws:
        """Those of `n` samples by a seed; what are draws already stays as it is."""
        if isinstance(seed, Draws):
            return seed
        return cls(np.random.default_rng(seed).integers(0, 2**63, n, dtype=np.uint64))

    def uniform(self, stream: int, shape: Sequence[int], like: Tensor) -> Tensor:
        """Uniform numbers in [0, 1), [n, *shape], on the device of `like`, in its type where it floats.

        They depend on the sample's seed and `stream` alone: not on which samples are asked for, in
        which order, or in what batch.
        """
        per_sample = int(np.prod(shape))
        with np.errstate(over="ignore"):
            counter = np.arange(per_sample, dtype=np.uint64) + np.uint64(stream << 32)
            state = self.seeds[:, None] + (counter[None, :] + np.uint64(1)) * np.uint64(
                0x9E3779B97F4A7C15
            )
            # splitmix64 (Steele, Lea and Flood 2014): a counter-based generator, vectorised.
            state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            state = state ^ (state >> np.uint64(31))
        unit = (state >> np.uint64(40)).astype(np.float32) / np.float32(1 << 24)
        made = torch.from_numpy(unit.reshape(len(self.seeds), *shape))
        return made.to(like if like.is_floating_point() else like.device)

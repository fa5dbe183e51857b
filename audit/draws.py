"""Random numbers that belong to samples, not to the batch that they come in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

AT_ONCE = 1 << 20  # numbers that are made together


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
        make = on_host if like.device.type == "cpu" else on_device
        at_once = max(1, AT_ONCE // max(per_sample, 1))
        made = torch.empty(len(self.seeds), per_sample, device=like.device)
        for start in range(0, len(made), at_once):
            rows = slice(start, start + at_once)
            made[rows] = make(self.seeds[rows], stream, per_sample, like.device)
        made = made.reshape(len(self.seeds), *shape)
        return made.to(like) if like.is_floating_point() else made


# splitmix64 (Steele, Lea and Flood 2014): a counter-based generator, vectorised.
GOLDEN, FIRST, SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def on_host(
    seeds: NDArray[np.uint64], stream: int, per_sample: int, device: torch.device
) -> Tensor:
    """[n, per_sample] uniform numbers, made by numpy."""
    with np.errstate(over="ignore"):
        counter = np.arange(per_sample, dtype=np.uint64) + np.uint64(stream << 32)
        state = seeds[:, None] + (counter[None, :] + np.uint64(1)) * np.uint64(GOLDEN)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(FIRST)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(SECOND)
        state = state ^ (state >> np.uint64(31))
    unit = (state >> np.uint64(40)).astype(np.float32) / np.float32(1 << 24)
    return torch.from_numpy(unit).to(device)


def on_device(
    seeds: NDArray[np.uint64], stream: int, per_sample: int, device: torch.device
) -> Tensor:
    """The same bits, made where they are needed: only the seeds travel."""

    def signed(word: int) -> int:
        """64 bits as torch holds them."""
        return word - (1 << 64) if word >> 63 else word

    def shifted(state: Tensor, by: int) -> Tensor:
        """A shift of unsigned numbers: what torch fills in from the sign is taken away."""
        return (state >> by) & ((1 << (64 - by)) - 1)

    own = torch.from_numpy(seeds.view(np.int64)).to(device)
    counter = torch.arange(1, per_sample + 1, device=device) + signed((stream << 32) % (1 << 64))
    state = own[:, None] + counter[None, :] * signed(GOLDEN)
    state = (state ^ shifted(state, 30)) * signed(FIRST)
    state = (state ^ shifted(state, 27)) * signed(SECOND)
    state = state ^ shifted(state, 31)
    return shifted(state, 40).to(torch.float32) / (1 << 24)

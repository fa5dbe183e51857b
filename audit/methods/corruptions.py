"""Inputs as they are met in life: disturbed in a way of their kind, or a little off everywhere."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from audit.draws import Draws
from audit.inputs import Corruption, normal

SEVERITIES = (1, 2, 3, 4, 5)


def corrupted(way: Corruption, x: Tensor, severity: int, *, seed: int | Draws = 0) -> Tensor:
    """Samples disturbed in a way of their kind.

    Args:
        way: one of `InputKind.corruptions`, such as those of `audit.inputs.image.corruptions`.
        x: [n, ...] samples.
        severity: 1 (hardly) to 5 (badly).
        seed: a sample's disturbance is its own, whatever batch it comes in.

    Example:
        >>> def dimmed(x, severity, uniform):
        ...     return x * (1 - severity / 10)
        >>> corrupted(dimmed, torch.ones(1, 2), 5).tolist()
        [[0.5, 0.5]]
    """
    draws = Draws.of(seed, len(x))
    return way(x, severity, lambda stream, shape: draws.uniform(stream, shape, x))


def noisy(
    x: Tensor,
    strength: float,
    *,
    spread: Tensor | float = 1.0,
    low: Tensor | float = -math.inf,
    high: Tensor | float = math.inf,
    seed: int | Draws = 0,
) -> Tensor:
    """Samples with normal noise on every value, kept in bounds.

    Args:
        x: [n, ...] samples.
        strength: standard deviation of the noise, in units of `spread`.
        spread: of each value, in its own unit; 0 where a value cannot be off.
        low, high: bounds of the values.

    Example:
        >>> x = noisy(torch.zeros(1000, 2), 0.5, spread=torch.tensor([2.0, 0.0]))
        >>> bool((x[:, 0].std() - 1).abs() < 0.1), x[:, 1].abs().max().item()
        (True, 0.0)
    """
    draws = Draws.of(seed, len(x))
    noise = normal(lambda stream, shape: draws.uniform(stream, shape, x), 0, tuple(x.shape[1:]))
    changed = x + noise * spread * strength
    return changed.clamp(torch.as_tensor(low).to(x), torch.as_tensor(high).to(x))

"""Lines between which an activation lies over an interval, and where it is open which line it follows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Lines:
    """below * z + floor ≤ activation of z ≤ above * z + ceiling, each [n, ...]."""

    below: Tensor
    floor: Tensor
    above: Tensor
    ceiling: Tensor


@dataclass(frozen=True)
class Bent:
    """A ReLU (Zhang et al. 2018, 3.2), or a leaky one: `slope` in [0, 1] below zero, 1 above."""

    slope: float

    def open(self, low: Tensor, high: Tensor) -> Tensor:
        return (low < 0) & (high > 0)

    def lines(self, low: Tensor, high: Tensor) -> Lines:
        crossing = self.open(low, high)
        straight = torch.where(low >= 0, 1.0, self.slope)
        chord = (high - self.slope * low) / (high - low).clamp_min(1e-12)
        return Lines(
            # The line through zero that leaves the smaller area.
            torch.where(crossing, torch.where(high > -low, 1.0, self.slope), straight),
            torch.zeros_like(low),
            torch.where(crossing, chord, straight),
            torch.where(crossing, (self.slope - chord) * low, 0.0),
        )


@dataclass(frozen=True)
class Bowed:
    """A sigmoid or tanh: it rises everywhere, steepest at zero, convex below and concave above.

    Where it bends one way only, the chord and the tangent at the middle; else lines through the ends
    that are nowhere steeper than the function (Singh et al. 2019, 4.2).
    """

    function: Callable[[Tensor], Tensor]
    derivative: Callable[[Tensor], Tensor]

    def open(self, low: Tensor, high: Tensor) -> Tensor:
        return low < high

    def lines(self, low: Tensor, high: Tensor) -> Lines:
        start, end, middle = self.function(low), self.function(high), (low + high) / 2
        least = torch.minimum(self.derivative(low), self.derivative(high))
        chord = ((end - start) / (high - low).clamp_min(1e-12)).clamp_min(0)
        tangent = self.derivative(middle)
        touched = self.function(middle) - tangent * middle
        concave, convex = low >= 0, high <= 0
        below = torch.where(concave, chord, torch.where(convex, tangent, least))
        above = torch.where(convex, chord, torch.where(concave, tangent, least))
        return Lines(
            below,
            torch.where(convex, touched, start - below * low),
            above,
            torch.where(concave, touched, end - above * high),
        )


SIGMOID = Bowed(torch.sigmoid, lambda z: torch.sigmoid(z) * torch.sigmoid(-z))
TANH = Bowed(torch.tanh, lambda z: 1 - torch.tanh(z) ** 2)

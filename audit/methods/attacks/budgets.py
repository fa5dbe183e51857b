"""What an adversary may do to a sample, as a budget around it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor

Norm = Literal["linf", "l2"]
Bounds = tuple[float, float]  # the lowest and the highest value that an input may have
TINY = 1e-30


def expand(per_sample: Tensor, like: Tensor) -> Tensor:
    """A value a sample [n], in the form of inputs [n, ...]."""
    return per_sample.reshape(-1, *([1] * (like.ndim - 1)))


@dataclass(frozen=True)
class Budget:
    """What an adversary may do to a sample: a unit ball of the change divided by `radius`.

    Attributes:
        radius: [1 or n, ...] largest change of each input; 0 where it may not be touched.
        low, high: [1, ...] bounds that every input keeps.
        norm: 'linf', each value on its own; or 'l2', all together.
        whole: [1, ...] values that stay whole numbers.
        fixed: samples [n, ...] → which of their values may not be touched, beyond those of no radius.
    """

    radius: Tensor
    low: Tensor
    high: Tensor
    norm: Norm = "linf"
    whole: Tensor | None = None
    fixed: Callable[[Tensor], Tensor | None] | None = None

    @classmethod
    def of(
        cls, eps: float | Budget, x: Tensor, norm: Norm = "linf", bounds: Bounds | None = None
    ) -> Budget:
        """The budget of a change of `eps` of samples [n, ...]; a budget stays as it is.

        Args:
            eps: largest change of each value (Linf), or of all together (L2), in the inputs' units.
            bounds: none where None. A sample outside of them may stay where it is.

        Raises:
            ValueError: eps is negative, the norm is neither 'linf' nor 'l2', or the bounds are the wrong
                way round.
        """
        if isinstance(eps, Budget):
            return eps
        low, high = bounds or (-torch.inf, torch.inf)
        if not eps >= 0:
            raise ValueError(f"eps is {eps}, and is a size: 0 or more")
        if norm not in get_args(Norm):
            raise ValueError(f"the norm is {norm!r}, not one of {', '.join(get_args(Norm))}")
        if not low < high:
            raise ValueError(f"the bounds are {low} and {high}: the lower comes first")
        like = torch.ones_like(x[:1])
        return cls(eps * like, low * like, high * like, norm)

    def around(self, x: Tensor) -> Ball:
        """The points that samples [n, ...] may be moved to."""
        low = torch.maximum(x - self.radius, self.low.minimum(x))
        high = torch.minimum(x + self.radius, self.high.maximum(x))
        if self.whole is not None:
            low = torch.where(self.whole, low.ceil(), low)
            high = torch.where(self.whole, high.floor(), high)
        fixed = None if self.fixed is None else self.fixed(x)
        if fixed is not None:
            low, high = torch.where(fixed, x, low), torch.where(fixed, x, high)
        return Ball(x, self.radius, low, high, self.norm)

    def open(self, where: Tensor | None = None) -> Budget:
        """The budget without bounds that every input keeps.

        Args:
            where: [1, ...] the values of no bounds; all where None.
        """
        where = torch.ones_like(self.low, dtype=torch.bool) if where is None else where
        return replace(
            self,
            low=self.low.masked_fill(where, -torch.inf),
            high=self.high.masked_fill(where, torch.inf),
        )

    def times(self, factor: Tensor) -> Budget:
        """The budget with every sample's radius times its own factor [n]."""
        return replace(self, radius=self.radius * expand(factor, self.radius))


@dataclass(frozen=True)
class Ball:
    """The points that a budget allows around samples `x` [n, ...], within `low` and `high`.

    `radius` is [1 or n, ...], as the budget's.
    """

    x: Tensor
    radius: Tensor
    low: Tensor
    high: Tensor
    norm: Norm

    def __getitem__(self, rows: Tensor) -> Ball:
        radius = self.radius if len(self.radius) == 1 else self.radius[rows]
        return Ball(self.x[rows], radius, self.low[rows], self.high[rows], self.norm)

    @property
    def movable(self) -> Tensor:
        """[n] may anything be changed?"""
        return (self.low < self.high).flatten(1).any(1)

    def flat(self, gradient: Tensor) -> Tensor:
        """[n] is a gradient [n, ...] zero wherever something may be changed?"""
        slope = (gradient != 0) & (self.low < self.high)
        return ~slope.flatten(1).any(1) & self.movable

    def project(self, point: Tensor) -> Tensor:
        """The allowed points nearest to [n, ...]."""
        if self.norm == "l2":
            change = point - self.x
            point = self.x + change / self.length(change).clamp_min(1)
        return torch.clamp(point, self.low, self.high)

    def length(self, change: Tensor) -> Tensor:
        """[n, 1, ...] Euclidean length of changes, in radii."""
        unit = torch.where(self.radius > 0, change / self.radius.clamp_min(TINY), 0.0)
        return expand(unit.flatten(1).norm(dim=1), change)

    def direction(self, gradient: Tensor) -> Tensor:
        """Where the function of a gradient [n, ...] rises fastest, one radius long."""
        if self.norm == "linf":
            return gradient.sign() * self.radius
        pull = gradient * self.radius
        # Scaled first: the square of a small gradient is zero in single precision.
        pull = pull / expand(pull.flatten(1).abs().amax(1), pull).clamp_min(TINY)
        return self.radius * pull / expand(pull.flatten(1).norm(dim=1), pull).clamp_min(TINY)

    def step(self, point: Tensor, gradient: Tensor, share: float) -> Tensor:
        """The next point of an ascent, `share` of the radius further; may write in `gradient`."""
        if self.norm == "linf":
            return (
                gradient.sign_().mul_(share * self.radius).add_(point).clamp_(self.low, self.high)
            )
        return self.project(point + share * self.direction(gradient))

    def start(self, uniform: Tensor) -> Tensor:
        """A random point for uniform numbers [n, ...] in [0, 1)."""
        if self.norm == "linf":
            return self.project(self.x + (2 * uniform - 1) * self.radius)
        normal = torch.erfinv((2 * uniform - 1).clamp(-1 + 1e-6, 1 - 1e-6))
        return self.project(self.x + self.direction(normal))

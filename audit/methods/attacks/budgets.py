"""What an adversary may do to a sample, as a budget around it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.methods.attacks.goals import goal
from audit.subject import Subject

Norm = Literal["linf", "l2"]
TINY = 1e-30
# An L2 budget for the eps of every value: this share of the longest change that eps allows. It meets
# the field's habits: 0.4 on 3x32x32 pixels for 8/255, 1.4 on 28x28 for 0.2.
L2_SHARE = 0.25


def expand(per_sample: Tensor, like: Tensor) -> Tensor:
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

    def open(self) -> Budget:
        """The budget without bounds that every input keeps."""
        nowhere = torch.full_like(self.low, torch.inf)
        return replace(self, low=-nowhere, high=nowhere)

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


def budget(subject: Subject, eps: float, norm: Norm = "linf", *, free: bool = False) -> Budget:
    """The budget that `eps` means for a subject, by what a small change is of its kind of inputs:
    on every value (Linf), or on the root of the sum of squares (L2).

    Whole numbers stay whole. Bounds that were only guessed bound nothing.

    Args:
        free: the diagnostic of a budget removed: every input, anywhere in its range.
    """
    reach = subject.kind.reach(subject, eps)
    if free:
        return Budget(reach.high - reach.low, reach.low, reach.high)
    allowed = Budget(
        reach.radius,
        reach.low,
        reach.high,
        norm,
        subject.whole,
        subject.padding,
    )
    return allowed.open() if subject.kind.bounds_are_guessed(subject) else allowed


def still_broken(subject: Subject, samples: NDArray[np.intp], points: Tensor) -> Tensor:
    """[n] are adversarial points of some samples wrong too once they are put back into the range?"""
    assert subject.range is not None
    found = []
    with torch.no_grad():
        for start in range(0, len(samples), subject.batch_size):
            x, y = subject.batch(samples[start : start + subject.batch_size])
            aim = goal(subject, x, y)
            point = points[start : start + subject.batch_size].to(x).clamp(*subject.range)
            found.append(aim.logits(point).argmax(1) != aim.y)
    return torch.cat(found).cpu()


def l2_eps(subject: Subject, eps: float) -> float:
    """The L2 budget that belongs to an Linf budget of `eps`."""
    return float(f"{L2_SHARE * eps * subject.inputs[0].numel() ** 0.5:.12g}")

"""What an attack works against, and what it drives up to get there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Loss = Literal["ce", "dlr", "targeted"]
Model = Callable[[Tensor], Tensor]  # points [n, ...] → scores [n, classes]
View = Callable[[Tensor, Tensor | None], Tensor]  # (scores, which rows of the batch) → [m, classes]


def as_it_is(scores: Tensor, _: Tensor | None) -> Tensor:
    """The scores themselves: a classification needs no other view."""
    return scores


@dataclass(frozen=True)
class Victim:
    """A model under attack, its answers seen as a classification to be made wrong.

    Attributes:
        scores: points [m, ...] → what the model returns.
        view: that, and which rows of the batch the points stand for (all where None) → [m, classes].
        whole: [1, ...] values that stay whole numbers; None: no value has to.
        network: whose inner gradients can be mended where they are masked; None: nothing is mended.
    """

    scores: Model
    view: View = as_it_is
    whole: Tensor | None = None
    network: nn.Module | None = None

    @classmethod
    def of(cls, model: Model | Victim) -> Victim:
        """Any callable, points [n, ...] → [n, classes]; what is a victim already stays as it is."""
        if isinstance(model, Victim):
            return model
        return cls(model, network=model if isinstance(model, nn.Module) else None)

    def valid(self, point: Tensor) -> Tensor:
        """Points as valid samples: what counts in whole numbers is whole."""
        return point if self.whole is None else torch.where(self.whole, point.round(), point)

    def logits(self, point: Tensor, rows: Tensor | None = None) -> Tensor:
        """[m, classes] at points that stand for all samples of the batch, or for some `rows`.

        The answer is that of the valid sample; the gradient passes through as if it were the point.
        """
        if self.whole is not None:
            point = point + (self.valid(point) - point).detach()
        return self.view(self.scores(point), rows)


@dataclass(frozen=True)
class Attacked:
    """What an attack did to a batch.

    Attributes:
        x: [n, ...] the worst points found, as valid samples.
        broken: [n] is the answer there wrong?
    """

    x: Tensor
    broken: Tensor


def gradient_of(loss: Tensor, point: Tensor, *, keep: bool = False) -> Tensor:
    """The gradient at a point; zero where the network hides how its answer came about.

    Args:
        keep: another gradient will be asked of the same forward pass.
    """
    if not loss.requires_grad:
        return torch.zeros_like(point)
    (gradient,) = torch.autograd.grad(loss, point, retain_graph=keep, allow_unused=True)
    return torch.zeros_like(point) if gradient is None else gradient


def margin(scores: Tensor, y: Tensor) -> Tensor:
    """[n] best other logit minus the true one: above zero where misclassified."""
    true = scores.gather(1, y[:, None])[:, 0]
    others = scores.scatter(1, y[:, None], float("-inf"))
    return others.max(1).values - true


def losses(scores: Tensor, y: Tensor, kind: Loss, aim: Tensor) -> Tensor:
    """[n] what is driven up; independent of the logits' scale but for 'ce' (Croce and Hein 2020, 4).

    Args:
        aim: [n] the class that a targeted attack aims at.
    """
    if kind == "ce":
        return F.cross_entropy(scores, y, reduction="none")
    ordered = scores.sort(1, descending=True).values
    true = scores.gather(1, y[:, None])[:, 0]
    k = scores.shape[1]
    if kind == "dlr":
        # Two classes have no third to scale by: the bare margin.
        scale = ordered[:, 0] - ordered[:, 2] if k > 2 else torch.ones_like(true)
        return margin(scores, y) / scale.clamp_min(1e-12)
    aimed = scores.gather(1, aim[:, None])[:, 0]
    scale = torch.ones_like(true)
    if k > 2:
        scale = ordered[:, 0] - (ordered[:, 2] + ordered[:, min(3, k - 1)]) / 2
    return (aimed - true) / scale.clamp_min(1e-12)

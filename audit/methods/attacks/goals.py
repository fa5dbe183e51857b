"""What an attack has to achieve, and what it drives up to get there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from audit.subject import Subject
from audit.tasks import View

Loss = Literal["ce", "dlr", "targeted"]


@dataclass(frozen=True)
class Goal:
    """What an attack has to achieve on a batch, as a classification to be made wrong.

    Attributes:
        y: [n] the class that the attack has to leave.
        view: the subject's scores as those of that classification.
        margin: by how much another class must lead; above zero where doubtful answers are refused.
    """

    subject: Subject
    y: Tensor
    view: View
    margin: float = 0.0

    def valid(self, point: Tensor) -> Tensor:
        """Points as valid samples: what counts in whole numbers is whole."""
        whole = self.subject.whole
        return point if whole is None else torch.where(whole, point.round(), point)

    def logits(self, point: Tensor, rows: Tensor | None = None) -> Tensor:
        """[n, classes] at points that stand for all samples of the batch, or for some `rows`.

        The answer is that of the valid sample; the gradient passes through as if it were the point.
        """
        if self.subject.whole is not None:
            point = point + (self.valid(point) - point).detach()
        scores = self.view(self.subject.logits(point), rows)
        if not self.margin:
            return scores
        y = self.y if rows is None else self.y[rows]
        return scores + self.margin * F.one_hot(y, scores.shape[1])


def goal(subject: Subject, x: Tensor, y: Tensor, margin: float = 0.0) -> Goal:
    """What is to be achieved on a batch, by the subject's task."""
    return Goal(subject, *subject.task.as_decision(subject, x, y), margin)


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

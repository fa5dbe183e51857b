"""One change for all samples."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from audit.evidence import Batch, producer
from audit.methods.attacks.budgets import budget
from audit.methods.attacks.goals import goal, gradient_of

CAP = 5.0  # of a sample's loss: what is broken already pulls no more (Shafahi et al. 2020, 3.2)


@producer(version=2, private=("change",))
def universal(batch: Batch, *, eps: float, steps: int) -> dict[str, Tensor]:
    """One Linf change that raises the capped cross-entropy of the whole batch (Shafahi et al. 2020).

    Args:
        steps: none for the random change that the search starts from, at the edge of the budget.

    Returns:
        change [n, ...]: the same for every sample.
    """
    subject = batch.subject
    aim = goal(subject, batch.x, batch.y)
    allowed = budget(subject, eps)
    change = torch.where(batch.uniform(0, batch.x.shape[1:])[:1] < 0.5, -1.0, 1.0) * allowed.radius
    for i in range(steps):
        point = change.detach().requires_grad_(True)
        scores = aim.logits(torch.clamp(batch.x + point, allowed.low, allowed.high))
        loss = F.cross_entropy(scores, aim.y, reduction="none").clamp_max(CAP).sum()
        stride = 2.5 / steps if i < steps // 2 else 1 / steps
        step = gradient_of(loss, point).sign() * stride * allowed.radius
        change = torch.clamp(change + step, -allowed.radius, allowed.radius)
    return {"change": change.expand_as(batch.x).clone()}


@producer(version=1)
def shifted(batch: Batch, *, eps: float, change: list[float]) -> dict[str, Tensor]:
    """What a given change does to each sample.

    Args:
        change: the values of one sample's change, in a row.

    Returns:
        broken [n].
    """
    subject = batch.subject
    aim = goal(subject, batch.x, batch.y)
    allowed = budget(subject, eps)
    delta = torch.tensor(change, device=batch.x.device).reshape(1, *batch.x.shape[1:])
    with torch.no_grad():
        point = torch.clamp(batch.x + delta, allowed.low, allowed.high)
        return {"broken": aim.logits(point).argmax(1) != aim.y}

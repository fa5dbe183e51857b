"""One change for all samples."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from audit.draws import Draws
from audit.methods.attacks.budgets import Bounds, Budget
from audit.methods.attacks.goals import Attacked, Model, Victim, gradient_of

CAP = 5.0  # of a sample's loss: what is broken already pulls no more (Shafahi et al. 2020, 3.2)


def universal(
    model: Model | Victim,
    x: Tensor,
    y: Tensor,
    eps: float | Budget,
    *,
    steps: int = 60,
    bounds: Bounds | None = None,
    seed: int | Draws = 0,
) -> Tensor:
    """One Linf change that raises the capped cross-entropy of the whole batch (Shafahi et al. 2020).

    Args:
        model: points [n, ...] → scores [n, classes].
        x: [n, ...] samples. y: [n] the class that each has to leave.
        eps: largest change of each value, in the units of `x`; or a budget.
        steps: none for the random change that the search starts from, at the edge of the budget.
        bounds: the lowest and the highest value that an input may have; none where None.

    Returns:
        [1, ...] the change.

    Raises:
        ValueError: eps or the bounds are none.

    Example:
        >>> change = universal(lambda x: torch.cat([-x, x], 1), torch.tensor([[0.1], [0.2]]),
        ...                    torch.tensor([1, 1]), eps=0.3)
        >>> float(change) < -0.2
        True
    """
    victim, allowed = Victim.of(model), Budget.of(eps, x, bounds=bounds)
    signs = Draws.of(seed, len(x)).uniform(0, x.shape[1:], x)[:1]
    change = torch.where(signs < 0.5, -1.0, 1.0) * allowed.radius
    for i in range(steps):
        point = change.detach().requires_grad_(True)
        scores = victim.logits(torch.clamp(x + point, allowed.low, allowed.high))
        loss = F.cross_entropy(scores, y, reduction="none").clamp_max(CAP).sum()
        stride = 2.5 / steps if i < steps // 2 else 1 / steps
        step = gradient_of(loss, point).sign() * stride * allowed.radius
        change = torch.clamp(change + step, -allowed.radius, allowed.radius)
    return change


def shifted(
    model: Model | Victim,
    x: Tensor,
    y: Tensor,
    change: Tensor,
    *,
    bounds: Bounds | Budget | None = None,
) -> Attacked:
    """What a given change does to each sample.

    Args:
        model: points [n, ...] → scores [n, classes].
        x: [n, ...] samples. y: [n] the class that each has to leave. change: [1, ...].
        bounds: the lowest and the highest value that an input may have, or a budget that has them.

    Example:
        >>> shifted(lambda x: torch.cat([-x, x], 1), torch.tensor([[0.1], [0.9]]),
        ...         torch.tensor([1, 1]), torch.tensor([[-0.3]])).broken.tolist()
        [True, False]
    """
    victim = Victim.of(model)
    allowed = bounds if isinstance(bounds, Budget) else Budget.of(0.0, x, bounds=bounds)
    with torch.no_grad():
        point = torch.clamp(x + change, allowed.low, allowed.high)
        return Attacked(point, victim.logits(point).argmax(1) != y)

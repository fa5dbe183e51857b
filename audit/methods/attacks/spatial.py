"""Where a thing lies, not what it is: rotations and shifts of pictures, shifts of series in time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from audit.methods.attacks.budgets import expand
from audit.methods.attacks.goals import Attacked, Model, Victim, margin


def spatial(
    model: Model | Victim, x: Tensor, y: Tensor, moves: Sequence[Callable[[Tensor], Tensor]]
) -> Attacked:
    """The worst of a grid of rotations and shifts (Engstrom et al. 2019, section 3.

    A grid search finds what gradients do not); of a series, the worst of its shifts in time.

    Args:
        model: points [n, ...] → scores [n, classes].
        x: [n, ...] samples. y: [n] the class that each has to leave.
        moves: samples [m, ...] → the same, turned or shifted; what breaks most comes first.

    Example:
        >>> later = lambda x: torch.roll(x, 1, 1)
        >>> spatial(lambda x: x[:, :2], torch.eye(2), torch.tensor([0, 1]), [later]).broken.tolist()
        [True, True]
    """
    victim = Victim.of(model)
    with torch.no_grad():
        scores = victim.logits(x)
        result, broken = x.clone(), scores.argmax(1) != y
        best = margin(scores, y)
        for move in moves:
            rows = (~broken).nonzero()[:, 0]
            if len(rows) == 0:
                break
            point = move(x[rows])
            lead = margin(victim.logits(point, rows), y[rows])
            better = lead > best[rows]
            result[rows] = torch.where(expand(better, x), point, result[rows])
            best[rows] = torch.maximum(lead, best[rows])
            broken[rows] = lead > 0
    return Attacked(result, broken)

"""Rows of a table whose categories may be others, among those that there are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from audit.methods.attacks.ascent import Ascended, as_valid, ascent
from audit.methods.attacks.budgets import Bounds, Budget
from audit.methods.attacks.goals import Model, Victim, margin

Categories = Sequence[
    Sequence[int]
]  # the columns of each feature, one of which is 1 and the others 0


def recategorised(
    model: Model | Victim, x: Tensor, y: Tensor, categories: Categories, changes: int
) -> Tensor:
    """The worst categories of rows [n, columns] one after the other, until the answer falls.

    Each the choice that hurts most (a greedy search as of Yang et al. 2020).

    Every row on the way is valid: exactly one category of each feature.

    Args:
        model: rows [n, columns] → scores [n, classes]. y: [n] the class that each has to leave.
        changes: features of a row that may be others at once; one that is already may change again.

    Example:
        >>> recategorised(lambda x: x[:, 1:], torch.tensor([[0.0, 1.0, 0.0]]), torch.tensor([0]),
        ...               [[0, 1, 2]], 1).tolist()
        [[0.0, 0.0, 1.0]]
    """
    victim, given = Victim.of(model), x
    with torch.no_grad():
        best = margin(victim.logits(x), y)
        moved = torch.ones_like(best, dtype=torch.bool)
        for _ in range(changes + 1 if categories else 0):
            differs = torch.stack([(x[:, c] != given[:, c]).any(1) for c in categories], 1)
            free = differs | (differs.sum(1, keepdim=True) < changes)
            # What has fallen, and what no change made worse, is tried no further.
            free &= (moved & (best <= 0))[:, None]
            found = x.clone()
            for at, columns in enumerate(categories):
                for column in columns:
                    rows = (free[:, at] & (x[:, column] != 1)).nonzero()[:, 0]
                    if len(rows) == 0:
                        continue
                    other = x[rows]
                    other[:, columns] = 0.0
                    other[:, column] = 1.0
                    lead = margin(victim.logits(other, rows), y[rows])
                    better = lead > best[rows]
                    best[rows[better]] = lead[better]
                    found[rows[better]] = other[better]
            moved = (found != x).any(1)
            if not bool(moved.any()):
                break
            x = found
    return x


def mixed(
    model: Model | Victim,
    x: Tensor,
    y: Tensor,
    eps: float | Budget,
    *,
    categories: Categories,
    changes: int,
    steps: int = 40,
    bounds: Bounds | None = None,
) -> Ascended:
    """The worst categories, and from there projected gradient ascent on the numbers.

    Args:
        model: rows [n, columns] → scores [n, classes].
        x: [n, columns]. y: [n] the class that each has to leave.
        eps: largest change of each value from its new row; a budget keeps categories from moving.
        changes: features of a row that may be others at once.

    Raises:
        ValueError: eps or the bounds are none.

    Example:
        >>> mixed(lambda x: x[:, 1:], torch.tensor([[0.0, 1.0, 0.0]]), torch.tensor([0]), 0.0,
        ...       categories=[[0, 1, 2]], changes=1).broken.tolist()
        [True]
    """
    victim, allowed = Victim.of(model), Budget.of(eps, x, bounds=bounds)
    begin = recategorised(victim, x, y, categories, changes)
    return as_valid(victim, ascent(victim.logits, begin, y, allowed, steps=steps, step=2.5 / steps))

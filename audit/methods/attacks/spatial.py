"""Where a thing lies, not what it is: rotations and shifts of pictures, shifts of series in time."""

from __future__ import annotations

import torch
from torch import Tensor

from audit.evidence import Batch, producer
from audit.methods.attacks.budgets import expand
from audit.methods.attacks.goals import goal, margin


@producer(version=1, private=("x",))
def spatial(batch: Batch, *, degrees: float, shift: float, grid: int) -> dict[str, Tensor]:
    """The worst of a grid of rotations and shifts (Engstrom et al. 2019, section 3: a grid search
    finds what gradients do not); of a series, the worst of its shifts in time.

    Args:
        degrees: largest rotation either way.
        shift: largest shift either way, as a share of the picture's width and height or the series'
            length.
        grid: values tried of each, an odd number, the middle one is no change.

    Returns:
        x [n, ...], broken [n].
    """
    subject, x = batch.subject, batch.x
    aim = goal(subject, x, batch.y)
    with torch.no_grad():
        scores = aim.logits(x)
        result, broken = x.clone(), scores.argmax(1) != aim.y
        best = margin(scores, aim.y)
        for move in subject.kind.displacements(subject, degrees, shift, grid):
            rows = (~broken).nonzero()[:, 0]
            if len(rows) == 0:
                break
            point = move(x[rows])
            lead = margin(aim.logits(point, rows), aim.y[rows])
            better = lead > best[rows]
            result[rows] = torch.where(expand(better, x), point, result[rows])
            best[rows] = torch.maximum(lead, best[rows])
            broken[rows] = lead > 0
    return {"x": result, "broken": broken}

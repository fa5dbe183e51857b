"""A patch stuck on a picture: anything at all, in one small square."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from audit.evidence import Batch, producer
from audit.methods.attacks.ascent import ascent
from audit.methods.attacks.budgets import Budget, expand
from audit.methods.attacks.goals import goal, gradient_of, margin


@producer(version=1, private=("x",))
def patch(batch: Batch, *, area: float, places: int, steps: int) -> dict[str, Tensor]:
    """The worst patch for each picture: gradient ascent on its content where it promises most.

    A patch per picture is the strongest form of Brown et al. 2017, who make one for all. The squares
    of a grid that overlap by half are ranked by the gradient within them; the first is attacked,
    then, of what stands, the next.

    Args:
        area: of the square, as a share of the picture.
        places: how many squares are tried.

    Returns:
        x [n, ...], broken [n].
    """
    subject, x = batch.subject, batch.x
    assert subject.range is not None
    aim = goal(subject, x, batch.y)
    low, high = (torch.full_like(x[:1], bound) for bound in subject.range)
    masks = squares(x, subject.channels_last, area)  # [places, ...]
    point = x.detach().clone().requires_grad_(True)
    scores = aim.logits(point)
    gradient = gradient_of(margin(scores, aim.y).sum(), point).abs()
    promise = gradient.flatten(1) @ masks.flatten(1).to(gradient).T
    order = promise.argsort(1, descending=True)
    result, broken = x.clone(), scores.detach().argmax(1) != aim.y
    for rank in range(min(places, len(masks))):
        rows = (~broken).nonzero()[:, 0]
        if len(rows) == 0:
            break
        radius = (high - low) * masks[order[rows, rank]]
        found = ascent(
            functools.partial(aim.logits, rows=rows),
            x[rows],
            aim.y[rows],
            Budget(radius, low, high),
            steps=steps,
            step=4 / steps,
            start=batch.uniform(rank, x.shape[1:])[rows],
        )
        result[rows] = torch.where(expand(found.broken, x), found.x, result[rows])
        broken[rows] = found.broken
    return {"x": result, "broken": broken}


def squares(x: Tensor, channels_last: bool, area: float) -> Tensor:
    """[places, ...] booleans: squares of a share of the picture, half a side apart."""
    shape = x.shape[1:]
    height, width = (shape[0], shape[1]) if channels_last else (shape[1], shape[2])
    side = max(1, min(height, width, round((area * height * width) ** 0.5)))
    stride = max(1, side // 2)
    masks = []
    for top in range(0, height - side + 1, stride):
        for left in range(0, width - side + 1, stride):
            mask = torch.zeros(height, width, dtype=torch.bool, device=x.device)
            mask[top : top + side, left : left + side] = True
            masks.append((mask[..., None] if channels_last else mask[None]).expand(shape))
    return torch.stack(masks)

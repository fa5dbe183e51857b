"""A patch stuck on a picture: anything at all, in one small square."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from audit.draws import Draws
from audit.methods.attacks.ascent import ascent
from audit.methods.attacks.budgets import Bounds, Budget, expand
from audit.methods.attacks.goals import Attacked, Model, Victim, gradient_of, margin


def patch(
    model: Model | Victim,
    x: Tensor,
    y: Tensor,
    area: float,
    *,
    places: int = 8,
    steps: int = 40,
    bounds: Bounds = (0.0, 1.0),
    channels_last: bool = False,
    seed: int | Draws = 0,
) -> Attacked:
    """The worst patch for each picture: gradient ascent on its content where it promises most.

    A patch per picture is the strongest form of Brown et al. 2017, who make one for all. The squares
    of a grid that overlap by half are ranked by the gradient within them; the first is attacked,
    then, of what stands, the next.

    Args:
        model: pictures [n, ...] → scores [n, classes].
        x: [n, channels, height, width] pictures. y: [n] the class that each has to leave.
        area: of the square, as a share of the picture.
        places: how many squares are tried.
        bounds: the lowest and the highest value of a pixel.
        channels_last: are pictures [n, height, width, channels]?

    Example:
        >>> corner = lambda x: torch.stack([-x[:, 0, 0, 0], x[:, 0, 0, 0]], 1) + torch.tensor([0.5, -0.5])
        >>> patch(corner, torch.ones(1, 1, 4, 4), torch.tensor([1]), 0.1).broken.tolist()
        [True]
    """
    victim, draws = Victim.of(model), Draws.of(seed, len(x))
    low, high = (torch.full_like(x[:1], bound) for bound in bounds)
    masks = squares(x, channels_last, area)  # [places, ...]
    point = x.detach().clone().requires_grad_(True)
    scores = victim.logits(point)
    gradient = gradient_of(margin(scores, y).sum(), point).abs()
    promise = gradient.flatten(1) @ masks.flatten(1).to(gradient).T
    order = promise.argsort(1, descending=True)
    result, broken = x.clone(), scores.detach().argmax(1) != y
    for rank in range(min(places, len(masks))):
        rows = (~broken).nonzero()[:, 0]
        if len(rows) == 0:
            break
        radius = (high - low) * masks[order[rows, rank]]
        found = ascent(
            functools.partial(victim.logits, rows=rows),
            x[rows],
            y[rows],
            Budget(radius, low, high),
            steps=steps,
            step=4 / steps,
            start=draws.uniform(rank, x.shape[1:], x)[rows],
        )
        result[rows] = torch.where(expand(found.broken, x), found.x, result[rows])
        broken[rows] = found.broken
    return Attacked(result, broken)


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

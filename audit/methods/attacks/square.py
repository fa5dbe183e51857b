"""Square: an attack that sees scores alone, by random search."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from audit.draws import Draws
from audit.methods.attacks.budgets import Ball, Bounds, Budget, Norm, expand
from audit.methods.attacks.goals import Attacked, Model, Victim, margin

# After which share of the queries the windows are halved, and how much of the input the first
# covers (Andriushchenko et al. 2020, section 5.1; AutoAttack's start).
HALVED = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
FIRST = 0.8


def square(
    model: Model | Victim,
    x: Tensor,
    y: Tensor,
    eps: float | Budget,
    *,
    queries: int = 200,
    norm: Norm = "linf",
    bounds: Bounds | None = None,
    channels_last: bool = False,
    seed: int | Draws = 0,
) -> Attacked:
    """Square attack (Andriushchenko et al. 2020): random changes of a window, kept where they help.

    Needs no gradient, so it sees through masked ones. Linf: the window goes to the edge of the
    budget, each channel up or down (algorithm 2). L2: what is spent in one window is moved to
    another (algorithm 3, with random signs instead of its fixed pattern). Windows are squares of an
    image, stretches of a series, and of a table any of its columns.

    Args:
        model: points [n, ...] → scores [n, classes].
        x: [n, ...] samples: images [n, channels, height, width], series [n, time, channels], rows [n,
            columns]. y: [n] the class that each has to leave.
        eps: largest change of each value (Linf) or of all together (L2), in the units of `x`; or a budget.
        queries: of each sample, at most.
        bounds: the lowest and the highest value that an input may have; none where None.
        channels_last: are images [n, height, width, channels]?

    Raises:
        ValueError: eps, the norm or the bounds are none.

    Example:
        >>> square(lambda x: torch.cat([-x, x], 1), torch.tensor([[0.1], [0.9]]), torch.tensor([1, 1]),
        ...        eps=0.2, queries=20).broken.tolist()
        [True, False]
    """
    victim, ball = Victim.of(model), Budget.of(eps, x, norm, bounds).around(x)
    draws, norm = Draws.of(seed, len(x)), ball.norm
    with torch.no_grad():
        wrong = victim.logits(x).argmax(1) != y  # already; such a sample stays as it is
        result, broken = x.clone(), wrong.clone()
        rows = (~wrong).nonzero()[:, 0]
        ball = ball[rows]
        stripes = first_change(draws.uniform(0, x.shape[1:], x)[rows], channels_last)
        current = edge(ball, stripes)
        best = margin(victim.logits(current, rows), y[rows])
        for query in range(1, queries):
            hit = best > 0
            if bool(hit.any()):
                result[rows[hit]], broken[rows[hit]] = current[hit], True
                keep = ~hit
                rows, current, best, ball = rows[keep], current[keep], best[keep], ball[keep]
            if len(rows) == 0:
                break
            share = FIRST / 2 ** sum(query > at * queries for at in HALVED)
            numbers = draws.uniform(query, (numbers_needed(x),), x)[rows]
            place, signs = window(current, share, numbers, channels_last)
            if norm == "linf":
                proposal = torch.where(place, edge(ball, signs), current)
                # What lies at that edge already would cost a query and change nothing.
                same = expand((proposal == current).flatten(1).all(1), current)
                proposal = torch.where(same & place, edge(ball, -signs), proposal)
            else:
                other, _ = window(current, share, numbers.flip(1), channels_last)
                proposal = moved(ball, current, place, other & ~place, signs)
            gained = margin(victim.logits(proposal, rows), y[rows])
            better = gained > best
            current = torch.where(expand(better, current), proposal, current)
            best = torch.where(better, gained, best)
        result[rows], broken[rows] = current, best > 0
    return Attacked(victim.valid(result), broken)


def edge(ball: Ball, signs: Tensor) -> Tensor:
    """Where changes of a sign for every value end that use the whole budget."""
    return ball.project(ball.x + ball.direction(signs))


def numbers_needed(x: Tensor) -> int:
    """Random numbers that a window takes: two or three for its place, the others for signs."""
    if x.ndim == 5:
        return 3 + x.shape[1]
    return 2 + (x[0].numel() if x.ndim == 2 else max(x.shape[1], x.shape[-1]))


def first_change(uniform: Tensor, channels_last: bool) -> Tensor:
    """Signs to begin with: stripes along the height of an image or the channels of a series."""
    if uniform.ndim == 4:
        axis = 1 if channels_last else 2
        uniform = uniform.narrow(axis, 0, 1).expand_as(uniform)
    return torch.where(uniform < 0.5, -1.0, 1.0)


def window(x: Tensor, share: float, uniform: Tensor, channels_last: bool) -> tuple[Tensor, Tensor]:
    """Random windows that cover a share of each sample, and a sign for each channel in them.

    Args:
        uniform: [n, numbers_needed].

    Returns:
        [n, ...] booleans, and [n, ...] signs of −1 and 1.
    """
    signs = torch.where(uniform[:, 2:] < 0.5, -1.0, 1.0)
    if x.ndim == 2:  # columns have no neighbours: each is in by chance, one surely
        count = max(1, round(share * x.shape[1]))
        last = uniform[:, 2:].kthvalue(count, 1, keepdim=True).values
        flip = (uniform[:, 2:] * 1024 % 1) < 0.5
        return uniform[:, 2:] <= last, torch.where(flip, -1.0, 1.0)
    if x.ndim == 3:  # [n, time, channels]
        inside = stretch(x.shape[1], max(1, round(share * x.shape[1])), uniform[:, 0], x.device)
        return inside[:, :, None].expand_as(x), signs[:, None, : x.shape[2]].expand_as(x)
    if x.ndim == 5:  # [n, channels, depth, height, width]
        side = max(1, round((share * math.prod(x.shape[2:])) ** (1 / 3)))
        depth, down, across = (
            stretch(size, min(side, size), uniform[:, i], x.device)
            for i, size in enumerate(x.shape[2:])
        )
        cube = depth[:, :, None, None] & down[:, None, :, None] & across[:, None, None, :]
        return cube[:, None].expand_as(x), signs[:, 1:, None, None, None].expand_as(x)
    height, width = (1, 2) if channels_last else (2, 3)
    side = round((share * x.shape[height] * x.shape[width]) ** 0.5)
    side = min(max(side, 1), x.shape[height], x.shape[width])
    down = stretch(x.shape[height], side, uniform[:, 0], x.device)
    across = stretch(x.shape[width], side, uniform[:, 1], x.device)
    inside = down[:, :, None] & across[:, None, :]
    if channels_last:
        return (inside[..., None].expand_as(x), signs[:, None, None, : x.shape[3]].expand_as(x))
    return inside[:, None].expand_as(x), signs[:, : x.shape[1], None, None].expand_as(x)


def stretch(size: int, length: int, uniform: Tensor, device: torch.device) -> Tensor:
    """[n, size] a run of `length` that starts at random."""
    first = (uniform * (size - length + 1)).long()[:, None]
    position = torch.arange(size, device=device)[None]
    return (position >= first) & (position < first + length)


def moved(ball: Ball, current: Tensor, place: Tensor, other: Tensor, signs: Tensor) -> Tensor:
    """An L2 change whose part in `other` is spent in `place`, with what was left of the budget."""
    change = current - ball.x
    kept = torch.where(place | other, 0.0, change)
    left = (1 - ball.length(kept) ** 2).clamp_min(0).sqrt()
    # Old and new direction together: the window is turned, not thrown away.
    inside = torch.where(
        place, change / ball.length(torch.where(place, change, 0.0)).clamp_min(1e-9), 0.0
    )
    fresh = torch.where(place, ball.direction(torch.where(place, signs, 0.0)), 0.0)
    push = inside + fresh
    return ball.project(ball.x + kept + push * left / ball.length(push).clamp_min(1e-9))

"""Auto-PGD: gradient ascent that chooses its own steps, on the losses that masked gradients fool least."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from audit.draws import Draws
from audit.methods.attacks.ascent import Ascended, as_valid, restarted
from audit.methods.attacks.budgets import Bounds, Budget, Norm, expand
from audit.methods.attacks.goals import Loss, Model, Victim, gradient_of, losses

MOMENTUM = 0.75
ENOUGH = 0.75  # share of steps between checkpoints that must raise the loss


def checkpoints(steps: int) -> list[int]:
    """Steps after which step sizes are looked at (Croce and Hein 2020, 3.1)."""
    points, before, now = [], 0.0, 0.22
    while now < 1:
        points.append(max(1, round(now * steps)))
        before, now = now, now + max(now - before - 0.03, 0.06)
    return sorted({p for p in points if p < steps})


def ascend(
    logits: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    y: Tensor,
    allowed: Budget,
    *,
    steps: int,
    kind: Loss,
    aimed: Tensor | None = None,
    start: Tensor | None = None,
) -> Ascended:
    """Auto-PGD (Croce and Hein 2020, algorithm 1); what is broken is attacked no further.

    Args:
        logits: (points [m, ...], rows [m] of the batch that they stand for) → [m, classes].
        aimed: [n] classes to aim at, for a targeted loss.
        start: [n, ...] uniform numbers in [0, 1); the sample itself where None.
    """
    ball = allowed.around(x)
    aimed = y if aimed is None else aimed
    result = x.clone()
    broken = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    open_ = torch.arange(len(x), device=x.device)
    current = x if start is None else ball.start(start)

    def look(point: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        point = point.detach().requires_grad_(True)
        scores = logits(point, rows)
        value = losses(scores, y[rows], kind, aimed[rows])
        gradient = gradient_of(value.sum(), point)
        return value.detach(), gradient, scores.detach().argmax(1) != y[rows]

    value, gradient, wrong = look(current, open_)
    first, zero, fixed = value.clone(), ball.flat(gradient), ~ball.movable
    best, best_at, best_gradient = value.clone(), current.clone(), gradient.clone()
    highest = best.clone()
    previous = current
    size = torch.full((len(x),), 2.0, device=x.device)
    rises = torch.zeros(len(x), device=x.device)
    best_before, size_before = best.clone(), size.clone()
    last, marks = 0, set(checkpoints(steps))
    for step in range(1, steps + 1):
        if bool(wrong.any()):
            result[open_[wrong]] = current[wrong]
            broken[open_[wrong]] = True
            keep = ~wrong
            ball = ball[keep]
            (
                open_,
                current,
                previous,
                value,
                gradient,
                best,
                best_at,
                best_gradient,
                size,
                rises,
                best_before,
                size_before,
            ) = (
                t[keep]
                for t in (
                    open_,
                    current,
                    previous,
                    value,
                    gradient,
                    best,
                    best_at,
                    best_gradient,
                    size,
                    rises,
                    best_before,
                    size_before,
                )
            )
        if len(open_) == 0:
            break
        z = ball.project(current + expand(size, current) * ball.direction(gradient))
        weight = 1.0 if step == 1 else MOMENTUM
        moved = current + weight * (z - current) + (1 - weight) * (current - previous)
        previous, current = current, ball.project(moved)
        before = value
        value, gradient, wrong = look(current, open_)
        rises += value > before
        better = value > best
        best = torch.where(better, value, best)
        best_at = torch.where(expand(better, current), current, best_at)
        best_gradient = torch.where(expand(better, current), gradient, best_gradient)
        highest[open_] = best
        if step in marks:
            stuck = rises < ENOUGH * (step - last)
            stuck |= (size == size_before) & (best <= best_before)
            size_before, best_before = size.clone(), best.clone()
            size = torch.where(stuck, size / 2, size)
            back = expand(stuck & ~wrong, current)
            current = torch.where(back, best_at, current)
            previous = torch.where(back, best_at, previous)
            gradient = torch.where(back, best_gradient, gradient)
            value = torch.where(stuck & ~wrong, best, value)
            rises, last = torch.zeros_like(rises), step
    if len(open_):
        result[open_] = torch.where(expand(wrong, current), current, best_at)
        broken[open_[wrong]] = True
    return Ascended(result, broken, result, (highest > first) | broken | fixed, zero)


def apgd(
    model: Model | Victim,
    x: Tensor,
    y: Tensor,
    eps: float | Budget,
    *,
    loss: Loss = "ce",
    steps: int = 40,
    rank: int = 0,
    restarts: int = 1,
    norm: Norm = "linf",
    bounds: Bounds | None = None,
    seed: int | Draws = 0,
) -> Ascended:
    """Auto-PGD (Croce and Hein 2020) from random starts, each on what the ones before left.

    Args:
        model: points [n, ...] → scores [n, classes].
        x: [n, ...] samples. y: [n] the class that each has to leave.
        eps: largest change of each value (Linf) or of all together (L2), in the units of `x`; or a budget.
        loss: 'ce', 'dlr', or 'targeted': the class of the `rank`-th highest score among the others.
        bounds: the lowest and the highest value that an input may have; none where None.

    Raises:
        ValueError: eps, the norm or the bounds are none.

    Example:
        >>> apgd(lambda x: torch.cat([-x, x], 1), torch.tensor([[0.1], [0.9]]), torch.tensor([1, 1]),
        ...      eps=0.2, loss="dlr").broken.tolist()
        [True, False]
    """
    victim, allowed = Victim.of(model), Budget.of(eps, x, norm, bounds)
    draws = Draws.of(seed, len(x))

    def attack(rows: Tensor, restart: int) -> Ascended:
        aimed = None
        if loss == "targeted":
            with torch.no_grad():
                scores = victim.logits(x[rows], rows)
            others = scores.scatter(1, y[rows][:, None], float("-inf"))
            aimed = others.argsort(1, descending=True)[:, rank]
        return ascend(
            lambda point, at: victim.logits(point, rows[at]),
            x[rows],
            y[rows],
            allowed,
            steps=steps,
            kind=loss,
            aimed=aimed,
            start=draws.uniform((restart << 16) + rank, x.shape[1:], x)[rows],
        )

    return as_valid(victim, restarted(len(x), x.device, restarts, attack))

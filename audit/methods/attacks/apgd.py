"""Auto-PGD: gradient ascent that chooses its own steps, on the losses that masked gradients fool least."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from audit.draws import Draws
from audit.methods.attacks.ascent import Ascended, as_valid, restarted
from audit.methods.attacks.budgets import Ball, Bounds, Budget, Norm, expand
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


@dataclass
class Climb:
    """Where the m samples stand that are attacked still: points [m, ...] and, of each, numbers [m].

    Attributes:
        rows: which samples of the batch they are.
        current, previous: the points of this step and of the one before; value, gradient: of the loss at
            `current`; wrong: does it break the sample?
        best, best_at, best_gradient: the highest loss so far, its point, and the gradient there.
        size: of the next step, in budgets.
        rises, best_before, size_before: steps since the last checkpoint that raised the loss, and how
            things stood there.
    """

    ball: Ball
    rows: Tensor
    current: Tensor
    previous: Tensor
    value: Tensor
    gradient: Tensor
    wrong: Tensor
    best: Tensor
    best_at: Tensor
    best_gradient: Tensor
    size: Tensor
    rises: Tensor
    best_before: Tensor
    size_before: Tensor

    @classmethod
    def at(cls, point: Tensor, ball: Ball, seen: tuple[Tensor, Tensor, Tensor]) -> Climb:
        """The start of all samples of a batch, and the loss, gradient and answers seen there."""
        value, gradient, wrong = seen
        size = torch.full_like(value, 2.0)
        return cls(
            ball=ball,
            rows=torch.arange(len(point), device=point.device),
            current=point,
            previous=point,
            value=value,
            gradient=gradient,
            wrong=wrong,
            best=value,
            best_at=point,
            best_gradient=gradient,
            size=size,
            rises=torch.zeros_like(value),
            best_before=value,
            size_before=size,
        )

    def __getitem__(self, keep: Tensor) -> Climb:
        """Only some of the samples."""
        return Climb(**{f.name: getattr(self, f.name)[keep] for f in fields(self)})

    def move(self, momentum: float) -> None:
        """One step along the gradient, and on in the direction of the last one."""
        towards = expand(self.size, self.current) * self.ball.direction(self.gradient)
        z = self.ball.project(self.current + towards)
        moved = self.current + momentum * (z - self.current)
        moved = moved + (1 - momentum) * (self.current - self.previous)
        self.previous, self.current = self.current, self.ball.project(moved)

    def learn(self, value: Tensor, gradient: Tensor, wrong: Tensor) -> None:
        """Take in what was seen at the current points."""
        self.rises = self.rises + (value > self.value)
        better = value > self.best
        self.best = torch.where(better, value, self.best)
        self.best_at = torch.where(expand(better, self.current), self.current, self.best_at)
        self.best_gradient = torch.where(expand(better, gradient), gradient, self.best_gradient)
        self.value, self.gradient, self.wrong = value, gradient, wrong

    def look_back(self, steps: int) -> None:
        """At a checkpoint: whoever is stuck goes back to the best point and on in steps of half the size.

        Args:
            steps: since the last one.
        """
        stuck = self.rises < ENOUGH * steps
        stuck |= (self.size == self.size_before) & (self.best <= self.best_before)
        self.size_before, self.best_before = self.size, self.best
        self.size = torch.where(stuck, self.size / 2, self.size)
        back = stuck & ~self.wrong
        there = expand(back, self.current)
        self.current = torch.where(there, self.best_at, self.current)
        self.previous = torch.where(there, self.best_at, self.previous)
        self.gradient = torch.where(there, self.best_gradient, self.gradient)
        self.value = torch.where(back, self.best, self.value)
        self.rises = torch.zeros_like(self.rises)


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

    def look(point: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        point = point.detach().requires_grad_(True)
        scores = logits(point, rows)
        value = losses(scores, y[rows], kind, aimed[rows])
        gradient = gradient_of(value.sum(), point)
        return value.detach(), gradient, scores.detach().argmax(1) != y[rows]

    begin = x if start is None else ball.start(start)
    climb = Climb.at(begin, ball, look(begin, torch.arange(len(x), device=x.device)))
    first, zero = climb.value, ball.flat(climb.gradient)
    highest = first.clone()
    result = x.clone()
    broken = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    last, marks = 0, set(checkpoints(steps))
    for step in range(1, steps + 1):
        if bool(climb.wrong.any()):
            done = climb[climb.wrong]
            result[done.rows] = done.current
            broken[done.rows] = True
            climb = climb[~climb.wrong]
        if len(climb.rows) == 0:
            break
        climb.move(1.0 if step == 1 else MOMENTUM)
        climb.learn(*look(climb.current, climb.rows))
        highest[climb.rows] = climb.best
        if step in marks:
            climb.look_back(step - last)
            last = step
    if len(climb.rows):
        wrong = expand(climb.wrong, climb.current)
        result[climb.rows] = torch.where(wrong, climb.current, climb.best_at)
        broken[climb.rows[climb.wrong]] = True
    return Ascended(result, broken, result, (highest > first) | broken | ~ball.movable, zero)


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

"""Projected gradient ascent: one batched loop for every norm, held equal to ART's by the tests.

The loop is ours because ART's costs 1.3–3 times the passes it needs at its best setting and 2.4–20
times at its defaults (`benchmarks/`). Parameters are frozen, the forward pass that gives a step its
gradient also tells whether the step before it succeeded, and nothing leaves the device.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from audit.evidence import Batch, producer
from audit.methods.attacks.budgets import Budget, Norm, budget, expand
from audit.methods.attacks.goals import Goal, goal, gradient_of, margin


@dataclass(frozen=True)
class Attacked:
    """What an attack did to a batch.

    Attributes:
        x: [n, ...] the first misclassified point met, the last point where none was.
        final: [n, ...] the last point, what textbook implementations return.
        broken: [n] a misclassified point was met.
        loss_rose: [n] the margin by which the attack wins grew from the first point to the last (the
            cross-entropy grows with it, but rounds to zero on confident models), or the budget
            allows no change.
        zero_gradient: [n] the gradient at the sample is zero wherever the budget allows a change, of
            the cross-entropy and of the margin.
    """

    x: Tensor
    final: Tensor
    broken: Tensor
    loss_rose: Tensor
    zero_gradient: Tensor


def ascent(
    logits: Callable[[Tensor], Tensor],
    x: Tensor,
    y: Tensor,
    allowed: Budget,
    *,
    steps: int,
    step: float,
    start: Tensor | None = None,
) -> Attacked:
    """Projected gradient ascent on the cross-entropy (Madry et al. 2018): along the gradient's sign
    under Linf, along the gradient under L2. Where it rounds to zero, as that of a very sure model
    does, along the margin's, which does not (Carlini and Wagner 2017, section IV).

    One step of the full radius from the sample itself is FGSM (Goodfellow et al. 2015).

    Args:
        logits: [n, ...] → [n, classes].
        step: size of a step, as a share of the radius.
        start: [n, ...] uniform numbers in [0, 1) that place the start in the budget; the sample
            itself where None.
    """
    ball = allowed.around(x)
    current = x if start is None else ball.start(start)
    broken = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    kept = current
    first = torch.zeros(len(x), device=x.device)
    zero = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    for i in range(steps):
        point = current.detach().requires_grad_(True)
        scores = logits(point)
        gradient = gradient_of(F.cross_entropy(scores, y, reduction="sum"), point, keep=True)
        flat = ball.flat(gradient)
        if bool(flat.any()):
            instead = gradient_of(margin(scores, y).sum(), point)
            gradient = torch.where(expand(flat, x), instead, gradient)
        wrong = scores.detach().argmax(1) != y
        fresh = wrong & ~broken
        if bool(fresh.any()):
            kept = torch.where(expand(fresh, x), current, kept)
            broken = broken | wrong
        if i == 0:
            first = margin(scores.detach(), y)
            zero = ball.flat(gradient)
        current = ball.step(current, gradient, step)
    with torch.no_grad():
        scores = logits(current)
    wrong = scores.argmax(1) != y
    kept = torch.where(expand(broken, x), kept, current)
    # What ends misclassified has risen, wherever its random start was.
    rose = (margin(scores, y) > first) | wrong | ~ball.movable
    return Attacked(kept, current, broken | wrong, rose, zero)


def as_evidence(attacked: Attacked, aim: Goal) -> dict[str, Tensor]:
    return {
        "x": aim.valid(attacked.x),
        "broken": attacked.broken,
        "loss_rose": attacked.loss_rose,
        "zero_gradient": attacked.zero_gradient,
    }


@producer(version=3, private=("x",))
def fgsm(batch: Batch, *, eps: float) -> dict[str, Tensor]:
    """Fast gradient sign method (Goodfellow et al. 2015): one step of the full budget.

    Returns:
        x [n, ...], broken [n], loss_rose [n], zero_gradient [n].
    """
    aim = goal(batch.subject, batch.x, batch.y)
    allowed = budget(batch.subject, eps)
    return as_evidence(ascent(aim.logits, batch.x, aim.y, allowed, steps=1, step=1.0), aim)


@producer(version=3, private=("x",))
def pgd(
    batch: Batch,
    *,
    eps: float,
    steps: int,
    restarts: int = 1,
    norm: Norm = "linf",
    random_start: bool = True,
) -> dict[str, Tensor]:
    """Projected gradient descent (Madry et al. 2018): random starts, steps of 2.5 eps / steps.

    Every restart after the first attacks only what is not broken yet.

    Args:
        random_start: false for the basic iterative method (Kurakin et al. 2017), which starts at the
            sample.

    Returns:
        as `fgsm`.
    """
    allowed = budget(batch.subject, eps, norm)

    def attack(rows: Tensor, restart: int) -> dict[str, Tensor]:
        start = batch.uniform(restart, batch.x.shape[1:])[rows] if random_start else None
        aim = goal(batch.subject, batch.x[rows], batch.y[rows])
        return as_evidence(
            ascent(
                aim.logits,
                batch.x[rows],
                aim.y,
                allowed,
                steps=steps,
                step=2.5 / steps,
                start=start,
            ),
            aim,
        )

    return restarted(batch, restarts if random_start else 1, attack)


def restarted(
    batch: Batch, restarts: int, attack: Callable[[Tensor, int], dict[str, Tensor]]
) -> dict[str, Tensor]:
    """An attack again and again, each time on what still stands.

    Args:
        attack: (rows [m] of the batch, number of the start) → its evidence on them.
    """
    open_ = torch.arange(len(batch.x), device=batch.x.device)
    found = attack(open_, 0)
    for restart in range(1, restarts):
        open_ = (~found["broken"]).nonzero()[:, 0]
        if len(open_) == 0:
            break
        made = attack(open_, restart)
        better = made["broken"]
        found["x"][open_[better]] = made["x"][better]
        found["broken"][open_[better]] = True
    return found


@producer(version=2)
def free_pgd(batch: Batch, *, steps: int) -> dict[str, Tensor]:
    """PGD with the budget removed: a diagnostic of the attack, not a threat.

    A sound gradient attack that may change everything leaves nothing right (Carlini et al. 2019,
    3.1).

    Returns:
        broken [n].
    """
    allowed = budget(batch.subject, 0.0, free=True)
    start = batch.uniform(0, batch.x.shape[1:])
    aim = goal(batch.subject, batch.x, batch.y)
    made = ascent(aim.logits, batch.x, aim.y, allowed, steps=steps, step=2.5 / steps, start=start)
    return {"broken": made.broken}

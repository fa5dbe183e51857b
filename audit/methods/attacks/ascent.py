"""Projected gradient ascent: one batched loop for every norm, held equal to ART's by the tests.

The loop is ours because ART's costs 1.3–3 times the passes it needs at its best setting and 2.4–20
times at its defaults (`benchmarks/`). Parameters are frozen, the forward pass that gives a step its
gradient also tells whether the step before it succeeded, and nothing leaves the device.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from audit.draws import Draws
from audit.methods.attacks.budgets import Bounds, Budget, Norm, expand
from audit.methods.attacks.goals import Attacked, Model, Victim, gradient_of, margin


@dataclass(frozen=True)
class Ascended(Attacked):
    """What a gradient attack did to a batch.

    `x` is the first misclassified point met, the last point where none was.

    Attributes:
        final: [n, ...] the last point, what textbook implementations return.
        loss_rose: [n] the margin by which the attack wins grew from the first point to the last (the
            cross-entropy grows with it, but rounds to zero on confident models), or the budget
            allows no change.
        zero_gradient: [n] the gradient at the sample is zero wherever the budget allows a change, of
            the cross-entropy and of the margin.
    """

    final: Tensor
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
) -> Ascended:
    """Projected gradient ascent on the cross-entropy (Madry et al. 2018).

    Along the gradient's sign under Linf, along the gradient under L2. Where it rounds to zero, as that of
    a very sure model does, along the margin's, which does not (Carlini and Wagner 2017, section IV).

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
    return Ascended(kept, broken | wrong, current, rose, zero)


def falls(
    logits: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    y: Tensor,
    allowed: Budget,
    *,
    steps: int,
    step: float,
    start: Tensor,
) -> Tensor:
    """[n] does `ascent` meet a misclassified point? What did is followed no further, and costs no more.

    Args:
        logits: (points [m, ...], rows [m] of the batch that they stand for) → [m, classes].
    """
    ball = allowed.around(x)
    current, rows = ball.start(start), torch.arange(len(x), device=x.device)
    broken = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    for taken in range(steps + 1):
        point = current.detach().requires_grad_(taken < steps)
        scores = logits(point, rows)
        wrong = scores.detach().argmax(1) != y[rows]
        broken[rows[wrong]] = True
        if taken == steps or bool(wrong.all()):
            break
        gradient = gradient_of(F.cross_entropy(scores, y[rows], reduction="sum"), point, keep=True)
        flat = ball.flat(gradient)
        if bool(flat.any()):
            instead = gradient_of(margin(scores, y[rows]).sum(), point)
            gradient = torch.where(expand(flat, gradient), instead, gradient)
        current, rows, ball = point.detach()[~wrong], rows[~wrong], ball[~wrong]
        current = ball.step(current, gradient[~wrong], step)
    return broken


def fgsm(
    model: Model | Victim,
    x: Tensor,
    y: Tensor,
    eps: float | Budget,
    *,
    bounds: Bounds | None = None,
) -> Ascended:
    """Fast gradient sign method (Goodfellow et al. 2015): one step of the full budget.

    Args:
        model: points [n, ...] → scores [n, classes].
        x: [n, ...] samples. y: [n] the class that each has to leave.
        eps: largest change of each value, in the units of `x`; or a budget.
        bounds: the lowest and the highest value that an input may have; none where None.

    Raises:
        ValueError: eps or bounds are none.

    Example:
        >>> fgsm(lambda x: torch.cat([-x, x], 1), torch.tensor([[0.1], [0.9]]), torch.tensor([1, 1]),
        ...      eps=0.2).broken.tolist()
        [True, False]
    """
    victim, allowed = Victim.of(model), Budget.of(eps, x, bounds=bounds)
    return as_valid(victim, ascent(victim.logits, x, y, allowed, steps=1, step=1.0))


def pgd(
    model: Model | Victim,
    x: Tensor,
    y: Tensor,
    eps: float | Budget,
    *,
    steps: int = 20,
    restarts: int = 1,
    random_start: bool = True,
    norm: Norm = "linf",
    bounds: Bounds | None = None,
    seed: int | Draws = 0,
) -> Ascended:
    """Projected gradient descent (Madry et al. 2018): random starts, steps of 2.5 eps / steps.

    Every restart after the first attacks only what is not broken yet.

    Args:
        model: points [n, ...] → scores [n, classes].
        x: [n, ...] samples. y: [n] the class that each has to leave.
        eps: largest change of each value (Linf) or of all together (L2), in the units of `x`; or a budget.
        random_start: false for the basic iterative method (Kurakin et al. 2017), which starts at the
            sample.
        bounds: the lowest and the highest value that an input may have; none where None.

    Raises:
        ValueError: eps, the norm or the bounds are none.

    Example:
        >>> pgd(lambda x: torch.cat([-x, x], 1), torch.tensor([[0.1], [0.9]]), torch.tensor([1, 1]),
        ...     eps=0.2, bounds=(-1, 1)).broken.tolist()
        [True, False]
    """
    victim, allowed = Victim.of(model), Budget.of(eps, x, norm, bounds)
    draws = Draws.of(seed, len(x))

    def attack(rows: Tensor, restart: int) -> Ascended:
        start = draws.uniform(restart, x.shape[1:], x)[rows] if random_start else None
        return ascent(
            lambda point: victim.logits(point, rows),
            x[rows],
            y[rows],
            allowed,
            steps=steps,
            step=2.5 / steps,
            start=start,
        )

    return as_valid(victim, restarted(len(x), x.device, restarts if random_start else 1, attack))


def as_valid(victim: Victim, found: Ascended) -> Ascended:
    """The points found as valid samples."""
    return replace(found, x=victim.valid(found.x))


def restarted(
    n: int, device: torch.device, restarts: int, attack: Callable[[Tensor, int], Ascended]
) -> Ascended:
    """An attack on `n` samples again and again, each time on what still stands.

    Args:
        attack: (rows [m] of the batch, number of the start) → what it did to them.
    """
    found = attack(torch.arange(n, device=device), 0)
    for restart in range(1, restarts):
        open_ = (~found.broken).nonzero()[:, 0]
        if len(open_) == 0:
            break
        made = attack(open_, restart)
        found.x[open_[made.broken]] = made.x[made.broken]
        found.broken[open_[made.broken]] = True
    return found

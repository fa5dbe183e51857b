"""The smallest change that is enough: in Linf by bisection, in L2 by DeepFool, then Carlini and Wagner.

DeepFool is ours because ART's costs 45–100 times its own passes (`benchmarks/`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from audit.draws import Draws
from audit.methods.attacks.apgd import ascend
from audit.methods.attacks.budgets import Ball, Bounds, Budget, expand
from audit.methods.attacks.goals import Model, Victim, gradient_of, margin
from audit.methods.attacks.unmasking import open_scores

OVERSHOOT = 0.02
HALVINGS = 10
Answer = Callable[[Tensor, Tensor], Tensor]


def deepfool(logits: Answer, ball: Ball, y: Tensor, *, steps: int, nearest: int) -> Tensor:
    """DeepFool (Moosavi-Dezfooli et al. 2016, algorithm 2) within the input's range.

    Every step goes to the nearest boundary of the model made linear; samples that crossed one rest.

    Args:
        logits: (points [m, ...], rows [m] that they stand for) → [m, classes].
        ball: the samples; its radius says what may be touched.
        nearest: how many other classes compete, those of the highest scores.

    Returns:
        [n, ...] the last points: misclassified, or where the search ended.
    """
    point = ball.x.clone()
    rows = torch.arange(len(y), device=y.device)
    touchable = (ball.radius > 0).expand_as(ball.x)
    for _ in range(steps):
        at = point[rows].detach().requires_grad_(True)
        scores = logits(at, rows)
        still = scores.detach().argmax(1) == y[rows]
        if not bool(still.any()):
            break
        # One graph serves all classes; what rests is thinned out with the next forward pass.
        true = scores.gather(1, y[rows][:, None])
        others = scores.scatter(1, y[rows][:, None], float("-inf"))
        leaders = others.topk(min(nearest, scores.shape[1] - 1), 1)
        best = torch.full_like(true[:, 0], torch.inf)
        move = torch.zeros_like(at)
        for j in range(leaders.values.shape[1]):
            gap = true[:, 0] - leaders.values[:, j]
            slope = gradient_of(-gap.sum(), at, keep=j + 1 < leaders.values.shape[1])
            slope = torch.where(touchable[rows], slope, 0.0)
            # What points out of the range cannot be followed.
            stuck = ((at <= ball.low[rows]) & (slope < 0)) | ((at >= ball.high[rows]) & (slope > 0))
            slope = torch.where(stuck, 0.0, slope)
            square = (slope.flatten(1) ** 2).sum(1)
            distance = gap.detach().abs() / square.sqrt().clamp_min(1e-30)
            nearer = distance < best
            best = torch.where(nearer, distance, best)
            step = expand((gap.detach().abs() + 1e-4) / square.clamp_min(1e-30), at) * slope
            move = torch.where(expand(nearer, at), step, move)
        moved = torch.clamp(at.detach() + (1 + OVERSHOOT) * move, ball.low[rows], ball.high[rows])
        point[rows[still]] = moved[still]
        rows = rows[still]
    return point


def carlini_wagner(
    logits: Answer, ball: Ball, y: Tensor, best: Tensor, *, rounds: int, steps: int
) -> Tensor:
    """Carlini and Wagner 2017 (section VI.A), started from misclassified points.

    Minimises the squared length plus c times the margin that is still missing with Adam, projected
    into the input's range (section V.B); c is searched by halving and doubling.

    Args:
        best: [n, ...] misclassified points.

    Returns:
        [n, ...] misclassified points, none further from the samples than before.
    """
    rows = torch.arange(len(y), device=y.device)
    touchable = (ball.radius > 0).to(ball.x)

    def square(x: Tensor) -> Tensor:
        return ((x - ball.x).flatten(1) ** 2).sum(1)

    shortest = square(best)
    with torch.no_grad():
        missing = (-margin(logits(ball.x, rows), y)).clamp_min(1e-6)
    c = torch.full_like(shortest, 2.0)
    for _ in range(rounds):
        # In units of the change so far: one step length fits all samples.
        size = shortest.clamp_min(1e-12)
        scale = expand((size / ball.x[0].numel()).sqrt(), best)
        change = ((best - ball.x) / scale).requires_grad_(True)
        optimiser = torch.optim.Adam([change], lr=0.1)
        hit = torch.zeros_like(y, dtype=torch.bool)
        for i in range(steps):
            optimiser.param_groups[0]["lr"] = 0.1 * (1 - i / steps)
            x = ball.x + scale * change
            scores = logits(x, rows)
            lack = (-margin(scores, y)).clamp_min(-1e-3 * missing) / missing
            length = square(x)
            wrong = scores.detach().argmax(1) != y
            better = wrong & (length.detach() < shortest)
            best = torch.where(expand(better, x), x.detach(), best)
            shortest = torch.where(better, length.detach(), shortest)
            hit |= wrong
            change.grad = gradient_of((length / size + c * lack).sum(), change) * touchable
            optimiser.step()
            with torch.no_grad():
                inside = torch.clamp(ball.x + scale * change, ball.low, ball.high)
                change.copy_((inside - ball.x) / scale)
        c = torch.where(hit, c / 2, c * 2)
    return best


def closer(logits: Answer, ball: Ball, y: Tensor, point: Tensor) -> Tensor:
    """The misclassified point nearest to each sample on the way to one, by bisection."""
    rows = torch.arange(len(y), device=y.device)
    low, high = torch.zeros(len(y), device=y.device), torch.ones(len(y), device=y.device)

    def between(share: Tensor) -> Tensor:
        return torch.clamp(ball.x + expand(share, point) * (point - ball.x), ball.low, ball.high)

    with torch.no_grad():
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            wrong = logits(between(middle), rows).argmax(1) != y
            high, low = torch.where(wrong, middle, high), torch.where(wrong, low, middle)
        return between(high)


@dataclass(frozen=True)
class Smallest:
    """The smallest change that a search broke each sample with; an upper bound of the true one.

    Attributes:
        x: [n, ...] the points, as valid samples.
        eps: [n] how far they are: 0 of what is wrong already, infinite of what was not broken.
    """

    x: Tensor
    eps: Tensor


def smallest_l2(
    model: Model | Victim,
    x: Tensor,
    y: Tensor,
    *,
    steps: int = 50,
    nearest: int = 3,
    rounds: int = 2,
    refining: int = 30,
    around: bool = False,
    bounds: Bounds | Budget | None = None,
) -> Smallest:
    """The smallest L2 change that DeepFool and the attack of Carlini and Wagner break each sample with.

    Args:
        model: points [n, ...] → scores [n, classes].
        x: [n, ...] samples. y: [n] the class that each has to leave.
        steps, nearest: of DeepFool.
        rounds, refining: of Carlini and Wagner: values of c, and steps for each; none where 0.
        around: masked gradients, by `unmasking`.
        bounds: the lowest and the highest value that an input may have, none where None; or a budget,
            whose radius says what may be touched.

    Raises:
        ValueError: the bounds are the wrong way round.

    Example:
        >>> found = smallest_l2(lambda x: torch.stack([-x.sum(1), x.sum(1)], 1),
        ...                     torch.tensor([[0.3, 0.1]]), torch.tensor([1]))
        >>> round(float(found.eps), 2)  # 0.4 / sqrt(2)
        0.28
    """
    victim = Victim.of(model)
    allowed = bounds if isinstance(bounds, Budget) else Budget.of(math.inf, x, "l2", bounds)
    ball = allowed.around(x)
    with torch.no_grad():
        wrong = victim.logits(x).argmax(1) != y
    found, eps = x.clone(), torch.where(wrong, 0.0, torch.inf)
    rows = (~wrong).nonzero()[:, 0]
    if len(rows):
        scores = open_scores(victim) if around else victim.logits

        def logits(points: Tensor, at: Tensor) -> Tensor:
            return scores(points, rows[at])

        here, left = ball[rows], y[rows]
        point = deepfool(logits, here, left, steps=steps, nearest=nearest)
        with torch.no_grad():
            broken = victim.logits(point, rows).argmax(1) != left
        rows, here, left, point = rows[broken], here[broken], left[broken], point[broken]
        if len(rows):
            point = closer(logits, here, left, point)
            if rounds:
                point = carlini_wagner(logits, here, left, point, rounds=rounds, steps=refining)
                point = closer(logits, here, left, point)
            found[rows] = point
            eps[rows] = (point - x[rows]).flatten(1).norm(dim=1).to(eps)
    return Smallest(victim.valid(found), eps)


def minimum_eps(
    model: Model | Victim,
    x: Tensor,
    y: Tensor,
    highest: float,
    *,
    halvings: int = 7,
    steps: int = 20,
    around: bool = False,
    begin: Tensor | None = None,
    bounds: Bounds | Budget | None = None,
    seed: int | Draws = 0,
) -> Smallest:
    """The smallest Linf budget that a bisection with Auto-PGD breaks each sample with.

    A sample that is wrong already needs none; one that survives `highest` gets infinity. One search gives
    robust accuracy at every eps.

    Args:
        model: points [n, ...] → scores [n, classes].
        x: [n, ...] samples. y: [n] the class that each has to leave.
        highest: where the search starts.
        halvings: how often the interval is halved: the answer is `highest` / 2 ** halvings fine.
        steps: of Auto-PGD in each.
        around: masked gradients, by `unmasking`.
        begin: [n, ...] where it begins instead of at the samples.
        bounds: the lowest and the highest value that an input may have, none where None; or the budget of
            eps 1.

    Raises:
        ValueError: the bounds are the wrong way round.

    Example:
        >>> found = minimum_eps(lambda x: torch.cat([-x, x], 1), torch.tensor([[0.3]]),
        ...                     torch.tensor([1]), 0.8, halvings=10)
        >>> round(float(found.eps), 2)
        0.3
    """
    victim, draws = Victim.of(model), Draws.of(seed, len(x))
    scores = open_scores(victim) if around else victim.logits
    unit = bounds if isinstance(bounds, Budget) else Budget.of(1.0, x, bounds=bounds)
    start = draws.uniform(0, x.shape[1:], x)
    begin = x if begin is None else begin
    found = begin.clone()
    with torch.no_grad():
        wrong = victim.logits(begin).argmax(1) != y

    def breaks(eps: Tensor) -> Tensor:
        made = ascend(scores, begin, y, unit.times(eps), steps=steps, kind="ce", start=start)
        nearer = made.broken & ~wrong
        found[nearer] = made.x[nearer]
        return made.broken

    top = torch.full((len(x),), highest, device=x.device)
    never = ~breaks(top) & ~wrong
    low, high = torch.zeros_like(top), top
    for _ in range(halvings):
        middle = (low + high) / 2
        hit = breaks(middle)
        high, low = torch.where(hit, middle, high), torch.where(hit, low, middle)
    eps = torch.where(wrong, 0.0, high)
    return Smallest(victim.valid(found), torch.where(never, torch.inf, eps))

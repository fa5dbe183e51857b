"""Attacks under an Linf budget: one batched loop, held equal to ART's by the tests.

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
from audit.subject import Subject


@dataclass(frozen=True)
class Budget:
    """What an adversary may do to a sample.

    Attributes:
        radius: [1, ...] largest change of each input; 0 where it may not be touched.
        low, high: [1, ...] bounds that every input keeps.
    """

    radius: Tensor
    low: Tensor
    high: Tensor

    def around(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Lowest and highest values that samples [n, ...] may take."""
        return (
            torch.maximum(x - self.radius, self.low.minimum(x)),
            torch.minimum(x + self.radius, self.high.maximum(x)),
        )


def budget(subject: Subject, eps: float, *, free: bool = False) -> Budget:
    """The budget that `eps` means for a subject.

    Images and series: `eps` in input units on every value, within the input range. Tables: `eps`
    in standard deviations on mutable numeric features, within the range of the data; categories
    stay.

    Args:
        free: the diagnostic of a budget removed: every input, anywhere in its range.
    """
    moments = subject.moments
    if subject.kind == "tabular":
        low, high = moments.low, moments.high
        radius = torch.zeros_like(low)
        for feature in subject.features:
            if feature.attackable:
                column = feature.columns[0]
                spread = feature.std if feature.std is not None else moments.std[0, column]
                radius[0, column] = eps * spread
    else:
        assert subject.range is not None
        low = torch.full_like(moments.low, subject.range[0])
        high = torch.full_like(moments.low, subject.range[1])
        radius = torch.full_like(moments.low, eps)
    if free:
        radius = high - low
    return Budget(radius, low, high)


@dataclass(frozen=True)
class Attacked:
    """What an attack did to a batch.

    Attributes:
        x: [n, ...] the first misclassified point met, the last point where none was.
        final: [n, ...] the last point, what textbook implementations return.
        broken: [n] a misclassified point was met.
        loss_rose: [n] the margin by which the attack wins grew from the first point to the last (the
            cross-entropy grows with it, but rounds to zero on confident models).
        zero_gradient: [n] the gradient at the sample is zero wherever the budget allows a change.
    """

    x: Tensor
    final: Tensor
    broken: Tensor
    loss_rose: Tensor
    zero_gradient: Tensor


def linf_ascent(
    logits: Callable[[Tensor], Tensor],
    x: Tensor,
    y: Tensor,
    allowed: Budget,
    *,
    steps: int,
    step: float,
    start: Tensor | None = None,
) -> Attacked:
    """Projected gradient ascent on the cross-entropy, by the gradient's sign (Madry et al. 2018).

    One step of the full radius from the sample itself is FGSM (Goodfellow et al. 2015).

    Args:
        logits: [n, ...] → [n, classes].
        step: size of a step, as a share of the radius.
        start: [n, ...] uniform numbers in [0, 1) that place the start in the budget; the sample
            itself where None.
    """
    low, high = allowed.around(x)
    stride = step * allowed.radius
    current = x
    if start is not None:
        current = torch.clamp(x + (2 * start - 1) * allowed.radius, low, high)
    broken = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    kept = current
    first = torch.zeros(len(x), device=x.device)
    zero = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    touchable = allowed.radius > 0
    for i in range(steps):
        point = current.detach().requires_grad_(True)
        scores = logits(point)
        loss = F.cross_entropy(scores, y, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, point)
        wrong = scores.detach().argmax(1) != y
        fresh = wrong & ~broken
        if bool(fresh.any()):
            kept = torch.where(expand(fresh, x), current, kept)
            broken = broken | wrong
        if i == 0:
            first = margin(scores.detach(), y)
            zero = ((gradient == 0) | ~touchable).flatten(1).all(1)
        current = gradient.sign_().mul_(stride).add_(current).clamp_(low, high)
    with torch.no_grad():
        scores = logits(current)
    wrong = scores.argmax(1) != y
    kept = torch.where(expand(broken, x), kept, current)
    # What ends misclassified has risen, wherever its random start was.
    rose = (margin(scores, y) > first) | wrong
    return Attacked(kept, current, broken | wrong, rose, zero)


@dataclass(frozen=True)
class Target:
    """What an attack has to achieve on a batch, as a classification to be made wrong.

    Attributes:
        y: [n] the class that the attack has to leave.
        now, away: [n, 1] of a value, what it is and in which direction the truth is left.
    """

    subject: Subject
    y: Tensor
    now: Tensor | None = None
    away: Tensor | None = None

    def logits(self, point: Tensor, rows: Tensor | None = None) -> Tensor:
        """[n, classes] at points that stand for all samples of the batch, or for some `rows`."""
        scores = self.subject.logits(point)
        if self.now is None or self.away is None:
            return scores
        now, away = (t if rows is None else t[rows] for t in (self.now, self.away))
        further = away * (scores - now) / float(self.subject.meta.tolerance or 0) - 1
        return torch.cat([torch.zeros_like(further), further], 1)


def target(subject: Subject, x: Tensor, y: Tensor) -> Target:
    """Decisions: another class than the true one. Values: further from the truth than now, by more
    than the subject's tolerance.
    """
    if not subject.is_regression:
        return Target(subject, y)
    with torch.no_grad():
        now = subject.logits(x)
    away = torch.where(now[:, 0] >= y.to(now), 1.0, -1.0)[:, None]
    return Target(subject, torch.zeros_like(y, dtype=torch.long), now, away)


def expand(mask: Tensor, like: Tensor) -> Tensor:
    return mask.reshape(-1, *([1] * (like.ndim - 1)))


def as_evidence(attacked: Attacked) -> dict[str, Tensor]:
    return {
        "x": attacked.x,
        "broken": attacked.broken,
        "loss_rose": attacked.loss_rose,
        "zero_gradient": attacked.zero_gradient,
    }


@producer(version=1, private=("x",))
def fgsm(batch: Batch, *, eps: float) -> dict[str, Tensor]:
    """Fast gradient sign method (Goodfellow et al. 2015): one step of the full budget.

    Returns:
        x [n, ...], broken [n], loss_rose [n], zero_gradient [n].
    """
    allowed = budget(batch.subject, eps)
    aim = target(batch.subject, batch.x, batch.y)
    return as_evidence(linf_ascent(aim.logits, batch.x, aim.y, allowed, steps=1, step=1.0))


@producer(version=1, private=("x",))
def pgd(batch: Batch, *, eps: float, steps: int, restarts: int = 1) -> dict[str, Tensor]:
    """Projected gradient descent (Madry et al. 2018): random starts, steps of 2.5 eps / steps.

    Every restart after the first attacks only what is not broken yet.

    Returns:
        as `fgsm`.
    """
    allowed = budget(batch.subject, eps)
    shape = batch.x.shape[1:]
    found: dict[str, Tensor] = {}
    open_ = torch.arange(len(batch.x), device=batch.x.device)
    for restart in range(restarts):
        start = batch.uniform(restart, shape)[open_.cpu()].to(batch.x.device)
        aim = target(batch.subject, batch.x[open_], batch.y[open_])
        made = as_evidence(
            linf_ascent(
                aim.logits, batch.x[open_], aim.y, allowed, steps=steps, step=2.5 / steps,
                start=start,
            )
        )  # fmt: skip
        if not found:
            found = made
        else:
            better = made["broken"]
            found["x"][open_[better]] = made["x"][better]
            found["broken"][open_[better]] = True
        open_ = (~found["broken"]).nonzero()[:, 0]
        if len(open_) == 0:
            break
    return found


@producer(version=1)
def free_pgd(batch: Batch, *, steps: int) -> dict[str, Tensor]:
    """PGD with the budget removed: a diagnostic of the attack, not a threat.

    A sound gradient attack that may change everything leaves nothing right (Carlini et al. 2019,
    3.1).

    Returns:
        broken [n].
    """
    allowed = budget(batch.subject, 0.0, free=True)
    start = batch.uniform(0, batch.x.shape[1:])
    aim = target(batch.subject, batch.x, batch.y)
    made = linf_ascent(
        aim.logits, batch.x, aim.y, allowed, steps=steps, step=2.5 / steps, start=start
    )
    return {"broken": made.broken}


@producer(version=2, private=("x",))
def random_search(batch: Batch, *, eps: float, queries: int) -> dict[str, Tensor]:
    """A black-box attack: flip the sign of the change in random blocks, keep what raises the loss.

    Needs no gradient, so it sees through masked ones. The corners-of-the-ball search of Square
    (Andriushchenko et al. 2020) and SignHunter (Al-Dujaili and O'Reilly 2020), for inputs of any
    shape; ART's Square knows images only.

    Returns:
        x [n, ...], broken [n].
    """
    allowed = budget(batch.subject, eps)
    x, aim = batch.x, target(batch.subject, batch.x, batch.y)
    logits, y = aim.logits, aim.y
    shape = tuple(x.shape[1:])
    size = int(torch.tensor(shape).prod())
    low, high = allowed.around(x)
    with torch.no_grad():
        signs = torch.where(batch.uniform(0, shape) < 0.5, -1.0, 1.0).to(x.device)
        scores = logits(torch.clamp(x + signs * allowed.radius, low, high))
        best = margin(scores, y)
        wrong = logits(x).argmax(1) != y  # already; such a sample stays as it is
        broken = (scores.argmax(1) != y) | wrong
        position = torch.arange(size, device=x.device)
        for query in range(1, queries):
            if bool(broken.all()):
                break
            # Blocks shrink from half of the input to single values.
            share = 0.5 * (1 - query / queries) ** 2
            width = max(1, round(size * share))
            first = (batch.uniform(query, (1,)).to(x.device) * size).long()
            block = ((position[None] - first) % size < width).reshape(-1, *shape)
            proposal = torch.where(block, -signs, signs)
            scores = logits(torch.clamp(x + proposal * allowed.radius, low, high))
            gained = margin(scores, y)
            better = (gained > best) & ~broken
            signs = torch.where(expand(better, x), proposal, signs)
            best = torch.where(better, gained, best)
            broken = broken | (scores.argmax(1) != y)
        found = torch.clamp(x + signs * allowed.radius, low, high)
    return {"x": torch.where(expand(wrong, x), x, found), "broken": broken}


def margin(scores: Tensor, y: Tensor) -> Tensor:
    """[n] best other logit minus the true one: above zero where misclassified."""
    true = scores.gather(1, y[:, None])[:, 0]
    others = scores.scatter(1, y[:, None], float("-inf"))
    return others.max(1).values - true

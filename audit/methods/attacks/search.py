"""Attacks that see only answers: scores (Square), or the bare decision (HopSkipJump)."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor

from audit.evidence import Batch, producer
from audit.methods.attacks.budgets import Ball, Norm, budget, expand
from audit.methods.attacks.goals import goal, margin

# After which share of the queries the windows are halved, and how much of the input the first
# covers (Andriushchenko et al. 2020, section 5.1; AutoAttack's start).
HALVED = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
FIRST = 0.8


@producer(version=4, private=("x",))
def square(batch: Batch, *, eps: float, queries: int, norm: Norm = "linf") -> dict[str, Tensor]:
    """Square attack (Andriushchenko et al. 2020): random changes of a window, kept where they help.

    Needs no gradient, so it sees through masked ones. Linf: the window goes to the edge of the
    budget, each channel up or down (algorithm 2). L2: what is spent in one window is moved to
    another (algorithm 3, with random signs instead of its fixed pattern). Windows are squares of an
    image, stretches of a series, and of a table any of its columns.

    Returns:
        x [n, ...], broken [n].
    """
    aim = goal(batch.subject, batch.x, batch.y)
    ball = budget(batch.subject, eps, norm).around(batch.x)
    last = batch.subject.channels_last
    with torch.no_grad():
        wrong = aim.logits(batch.x).argmax(1) != aim.y  # already; such a sample stays as it is
        result, broken = batch.x.clone(), wrong.clone()
        rows = (~wrong).nonzero()[:, 0]
        ball = ball[rows]
        stripes = first_change(batch.uniform(0, batch.x.shape[1:])[rows], last)
        current = edge(ball, stripes)
        scores = aim.logits(current, rows)
        best = margin(scores, aim.y[rows])
        for query in range(1, queries):
            hit = best > 0
            if bool(hit.any()):
                result[rows[hit]], broken[rows[hit]] = current[hit], True
                keep = ~hit
                rows, current, best, ball = rows[keep], current[keep], best[keep], ball[keep]
            if len(rows) == 0:
                break
            share = FIRST / 2 ** sum(query > at * queries for at in HALVED)
            numbers = batch.uniform(query, (numbers_needed(batch.x),))[rows]
            place, signs = window(current, share, numbers, last)
            if norm == "linf":
                proposal = torch.where(place, edge(ball, signs), current)
                # What lies at that edge already would cost a query and change nothing.
                same = expand((proposal == current).flatten(1).all(1), current)
                proposal = torch.where(same & place, edge(ball, -signs), proposal)
            else:
                other, _ = window(current, share, numbers.flip(1), last)
                proposal = moved(ball, current, place, other & ~place, signs)
            gained = margin(aim.logits(proposal, rows), aim.y[rows])
            better = gained > best
            current = torch.where(expand(better, current), proposal, current)
            best = torch.where(better, gained, best)
        result[rows], broken[rows] = current, best > 0
    return {"x": aim.valid(result), "broken": broken}


def edge(ball: Ball, signs: Tensor) -> Tensor:
    """Where changes of a sign for every value end that use the whole budget."""
    return ball.project(ball.x + ball.direction(signs))


def numbers_needed(x: Tensor) -> int:
    """Random numbers that a window takes: two for its place, the others for signs."""
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


@producer(version=1, private=("x",))
def hop_skip_jump(batch: Batch, *, iterations: int, evaluations: int) -> dict[str, Tensor]:
    """HopSkipJump (Chen et al. 2020, by ART) under Linf: sees the decision alone.

    The search is for the smallest change, so one run answers for every eps.

    Returns:
        x [n, ...], distance [n]: largest change of a value, in units of the input's range (for
        tables in its standard deviations); infinite where no change of the answer was met.
    """
    from art.attacks.evasion import HopSkipJump
    from art.estimators.classification import BlackBoxClassifierNeuralNetwork

    subject = batch.subject
    unit = budget(subject, 1.0)
    ball = unit.around(batch.x)
    touchable = (unit.radius > 0).expand_as(batch.x)
    aim = goal(subject, batch.x, batch.y)
    k = aim.logits(batch.x[:2]).shape[1]
    low, high = float(unit.low.min()), float(unit.high.max())

    def decide(points: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            point = torch.as_tensor(points, dtype=batch.x.dtype, device=batch.x.device)
            return torch.nn.functional.one_hot(subject.logits(point).argmax(1), k).cpu().numpy()

    classifier = BlackBoxClassifierNeuralNetwork(
        decide, tuple(batch.x.shape[1:]), k, clip_values=(low, high), channels_first=True
    )
    attack = HopSkipJump(
        classifier,
        norm=np.inf,
        max_iter=iterations,
        max_eval=evaluations,
        init_eval=min(100, evaluations),
        init_size=100,
        batch_size=subject.batch_size,
        verbose=False,
    )
    state = np.random.get_state()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            np.random.seed(int(batch.seeds[0] % (1 << 32)))  # ART draws from the global generator
            made = attack.generate(
                batch.x.cpu().numpy(),
                y=np.eye(k, dtype=np.float32)[aim.y.cpu().numpy()],
                mask=touchable.cpu().numpy().astype(np.float32),
            )
        finally:
            np.random.set_state(state)
    x = torch.as_tensor(made, dtype=batch.x.dtype, device=batch.x.device)
    with torch.no_grad():
        wrong = subject.logits(x).argmax(1) != aim.y
    change = torch.where(ball.radius > 0, (x - batch.x).abs() / ball.radius.clamp_min(1e-30), 0.0)
    distance = change.flatten(1).amax(1)
    return {"x": x, "distance": torch.where(wrong, distance, torch.inf)}

"""Randomised smoothing: the majority answer under Gaussian noise, and what is proven of it."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from audit.evidence import Batch, producer
from audit.methods.attacks.budgets import budget, expand
from audit.methods.attacks.goals import gradient_of

ALPHA = 0.001  # chance that a radius is too large, for each sample (Cohen et al. 2019)
AT_ONCE = 1 << 22  # values of noisy copies answered together


def radius(successes: ArrayLike, n: int, sigma: float, alpha: float = ALPHA) -> NDArray[np.float64]:
    """The L2 radius within which the majority answer cannot change (Cohen et al. 2019, theorem 1).

    Args:
        successes: [...] draws of `n` that gave the answer.
        sigma: standard deviation of the noise.

    Returns:
        [...] sigma times the normal quantile of the Clopper–Pearson lower bound of its probability;
        0 where that is not above a half.
    """
    from scipy.stats import beta, norm

    k = np.asarray(successes, dtype=float)
    with np.errstate(invalid="ignore"):
        lower = np.where(k > 0, beta.ppf(alpha, k, n - k + 1), 0.0)
    return np.where(lower > 0.5, sigma * norm.ppf(np.clip(lower, 0.5, 1 - 1e-16)), 0.0)


def votes(batch: Batch, x: Tensor, sigma: float, draws: int, generator: torch.Generator) -> Tensor:
    """[n, classes] how often each class was answered under noise."""
    counts: Tensor | None = None
    done = 0
    per = max(1, AT_ONCE // x.numel())
    with torch.no_grad():
        while done < draws:
            m = min(per, draws - done)
            noise = torch.randn(m * len(x), *x.shape[1:], generator=generator).to(x.device)
            scores = batch.subject.logits(x.repeat(m, *[1] * (x.ndim - 1)) + sigma * noise)
            k = scores.shape[1]
            hits = F.one_hot(scores.argmax(1), k).reshape(m, len(x), k).sum(0)
            counts = hits if counts is None else counts + hits
            done += m
    assert counts is not None
    return counts


def generator_of(batch: Batch, stream: int) -> torch.Generator:
    """Random numbers that hang on the batch's samples alone, a stream for each use."""
    seed = int(np.bitwise_xor.reduce(batch.seeds) >> np.uint64(2))
    return torch.Generator().manual_seed(seed + stream)


@producer(version=1)
def smoothed(batch: Batch, *, sigma: float, draws: int, selecting: int) -> dict[str, Tensor]:
    """What the smoothed classifier answers, and how sure that is.

    Args:
        selecting: draws that choose the answer; `draws` more say how often it is given.

    Returns:
        answer [n], successes [n] of `draws`.
    """
    generator = generator_of(batch, 0)
    answer = votes(batch, batch.x, sigma, selecting, generator).argmax(1)
    counts = votes(batch, batch.x, sigma, draws, generator)
    return {"answer": answer, "successes": counts.gather(1, answer[:, None])[:, 0]}


@producer(version=1, private=("x",))
def smooth_attack(
    batch: Batch, *, eps: float, sigma: float, steps: int, draws: int, judging: int
) -> dict[str, Tensor]:
    """PGD in L2 against the smoothed classifier (Salman et al. 2019, section 2.2).

    The gradient is that of the mean probability over draws of noise.

    Args:
        judging: draws whose majority says whether the classifier is broken.

    Returns:
        x [n, ...], broken [n].
    """
    x, y = batch.x, batch.y
    ball = budget(batch.subject, eps, "l2").around(x)
    generator = generator_of(batch, 1)
    current = ball.start(batch.uniform(0, x.shape[1:]))
    for _ in range(steps):
        point = current.detach().requires_grad_(True)
        noise = torch.randn(draws, *x.shape, generator=generator).to(x.device)
        noisy = (point[None] + sigma * noise).flatten(0, 1)
        chances = batch.subject.logits(noisy).softmax(1).reshape(draws, len(x), -1).mean(0)
        loss = -chances.gather(1, y[:, None]).clamp_min(1e-12).log().sum()
        current = ball.step(current, gradient_of(loss, point), 2.5 / steps)
    counts = votes(batch, current.detach(), sigma, judging, generator)
    before = votes(batch, x, sigma, judging, generator).argmax(1) != y
    broken = (counts.argmax(1) != y) | before
    return {"x": torch.where(expand(before, x), x, current.detach()), "broken": broken}

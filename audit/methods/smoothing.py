"""Randomised smoothing: the majority answer under Gaussian noise, and what is proven of it."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from scipy.stats import beta, norm
from torch import Tensor

from audit.draws import Draws
from audit.methods.attacks.budgets import Bounds, Budget, expand
from audit.methods.attacks.goals import Attacked, Model, gradient_of

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
    k = np.asarray(successes, dtype=float)
    with np.errstate(invalid="ignore"):
        lower = np.where(k > 0, beta.ppf(alpha, k, n - k + 1), 0.0)
    return np.where(lower > 0.5, sigma * norm.ppf(np.clip(lower, 0.5, 1 - 1e-16)), 0.0)


def votes(model: Model, x: Tensor, sigma: float, draws: int, generator: torch.Generator) -> Tensor:
    """[n, classes] how often each class was answered under noise."""
    counts: Tensor | None = None
    done = 0
    per = max(1, AT_ONCE // x.numel())
    with torch.no_grad():
        while done < draws:
            m = min(per, draws - done)
            noise = torch.randn(m * len(x), *x.shape[1:], generator=generator).to(x.device)
            scores = model(x.repeat(m, *[1] * (x.ndim - 1)) + sigma * noise)
            k = scores.shape[1]
            hits = F.one_hot(scores.argmax(1), k).reshape(m, len(x), k).sum(0)
            counts = hits if counts is None else counts + hits
            done += m
    assert counts is not None
    return counts


def generator_of(draws: Draws, stream: int) -> torch.Generator:
    """Random numbers that hang on the samples alone, a stream for each use."""
    seed = int(np.bitwise_xor.reduce(draws.seeds) >> np.uint64(2))
    return torch.Generator().manual_seed(seed + stream)


def smoothed(
    model: Model,
    x: Tensor,
    sigma: float,
    *,
    draws: int = 500,
    selecting: int = 50,
    seed: int | Draws = 0,
) -> tuple[Tensor, Tensor]:
    """What the smoothed classifier answers, and how sure that is (Cohen et al. 2019).

    Args:
        model: points [n, ...] → scores [n, classes].
        x: [n, ...] samples. sigma: standard deviation of the noise, in the units of `x`.
        selecting: draws that choose the answer; `draws` more say how often it is given.

    Returns:
        [n] answers, and [n] how many of `draws` gave them.

    Example:
        >>> smoothed(lambda x: torch.cat([-x, x], 1), torch.tensor([[9.0]]), 1.0, draws=100)
        (tensor([1]), tensor([100]))
    """
    generator = generator_of(Draws.of(seed, len(x)), 0)
    answer = votes(model, x, sigma, selecting, generator).argmax(1)
    counts = votes(model, x, sigma, draws, generator)
    return answer, counts.gather(1, answer[:, None])[:, 0]


def smooth_attack(
    model: Model,
    x: Tensor,
    y: Tensor,
    eps: float | Budget,
    *,
    sigma: float,
    steps: int = 10,
    draws: int = 10,
    judging: int = 100,
    bounds: Bounds | None = None,
    seed: int | Draws = 0,
) -> Attacked:
    """PGD in L2 against the smoothed classifier (Salman et al. 2019, section 2.2).

    The gradient is that of the mean probability over draws of noise.

    Args:
        model: points [n, ...] → scores [n, classes].
        x: [n, ...] samples. y: [n] the class that each has to leave.
        eps: largest change of all values together, in the units of `x`; or a budget.
        sigma: standard deviation of the noise.
        judging: draws whose majority says whether the classifier is broken.
        bounds: the lowest and the highest value that an input may have; none where None.

    Raises:
        ValueError: eps or the bounds are none.

    Example:
        >>> smooth_attack(lambda x: torch.cat([-x, x], 1), torch.tensor([[0.3], [9.0]]),
        ...               torch.tensor([1, 1]), eps=2.0, sigma=0.5).broken.tolist()
        [True, False]
    """
    numbers = Draws.of(seed, len(x))
    ball = Budget.of(eps, x, "l2", bounds).around(x)
    generator = generator_of(numbers, 1)
    current = ball.start(numbers.uniform(0, x.shape[1:], x))
    for _ in range(steps):
        point = current.detach().requires_grad_(True)
        noise = torch.randn(draws, *x.shape, generator=generator).to(x.device)
        noisy = (point[None] + sigma * noise).flatten(0, 1)
        chances = model(noisy).softmax(1).reshape(draws, len(x), -1).mean(0)
        loss = -chances.gather(1, y[:, None]).clamp_min(1e-12).log().sum()
        current = ball.step(current, gradient_of(loss, point), 2.5 / steps)
    counts = votes(model, current.detach(), sigma, judging, generator)
    before = votes(model, x, sigma, judging, generator).argmax(1) != y
    broken = (counts.argmax(1) != y) | before
    return Attacked(torch.where(expand(before, x), x, current.detach()), broken)

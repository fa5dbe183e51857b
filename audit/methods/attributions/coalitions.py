"""Coalitions: what the score is with only some parts of a sample present."""

from __future__ import annotations

import torch
from torch import Tensor

from audit.draws import Draws
from audit.inputs import Parts
from audit.methods.attributions.scores import Attributions, Score, at_once, relative_error

MOST_AT_ONCE = 4096


def shap(
    score: Score,
    x: Tensor,
    target: Tensor,
    fill: Tensor,
    parts: Parts,
    *,
    permutations: int = 6,
    pads: Tensor | None = None,
    seed: int | Draws = 0,
) -> Attributions:
    """SHAP values of the parts (Lundberg and Lee 2017), by antithetic permutation sampling.

    Parts enter in random orders, each order forwards and backwards (Mitchell et al. 2022). The values sum
    to the difference of scores by construction.

    Args:
        score: (points [n, ...], classes [n]) → [n]: what is explained.
        x: [n, ...] samples. target: [n] the class of each that is explained.
        fill: [b, ...] rows that absent parts are taken from: their scores' mean counts.
        parts: what is taken away together.
        pads: [n, ...] values that are no part of the samples, and stay as they are.

    Returns:
        values [n, parts] and their error.

    Example:
        >>> parts = Parts(torch.arange(2), ["a", "b"], None)
        >>> x, fill = torch.tensor([[3.0, 1.0]]), torch.zeros(1, 2)
        >>> found = shap(lambda x, _: x[:, 0] * x[:, 1], x, torch.tensor([0]), fill, parts)
        >>> found.values.tolist()
        [[1.5, 1.5]]
    """
    count, draws = parts.count, Draws.of(seed, len(x))
    values = torch.zeros(len(x), count, device=x.device)
    for permutation in range(permutations):
        order = draws.uniform(permutation, (count,), x).argsort(1)
        for forwards in (order, order.flip(1)):
            rank = forwards.argsort(1)
            # masks[:, s]: the first s parts of the order are present
            sizes = torch.arange(count + 1, device=x.device)
            masks = rank[:, None, :] < sizes[None, :, None]
            worth = coalition_values(score, x, target, fill, parts, masks, pads)
            values.scatter_add_(1, forwards, worth[:, 1:] - worth[:, :-1])
    values /= 2 * permutations
    return Attributions(values, relative_error(values.sum(1), worth[:, -1] - worth[:, 0]))


def coalition_values(
    score: Score,
    x: Tensor,
    target: Tensor,
    fill: Tensor,
    parts: Parts,
    masks: Tensor,
    pads: Tensor | None = None,
) -> Tensor:
    """[n, m] mean score with only some parts present, over the rows that stand for the others.

    Args:
        fill: [b, ...] rows that absent parts are taken from.
        masks: [n, m, players] booleans.
        pads: [n, ...] values that are no part of the samples, and stay as they are.
    """
    n, m, _ = masks.shape
    b = len(fill)
    out = torch.empty(n * m, device=x.device)
    flat = masks.reshape(n * m, -1)
    per_chunk = max(1, at_once(x, MOST_AT_ONCE) // b)
    owner = torch.arange(n, device=x.device).repeat_interleave(m)
    with torch.no_grad():
        for start in range(0, n * m, per_chunk):
            rows = slice(start, start + per_chunk)
            keep = parts.expand(flat[rows]).to(x.device)[:, None]
            if pads is not None:
                keep = keep | pads[owner[rows]][:, None]
            own = x[owner[rows]][:, None]
            mixed = torch.where(keep, own, fill[None])
            goal = target[owner[rows]].repeat_interleave(b)
            scores = score(mixed.reshape(-1, *x.shape[1:]), goal)
            out[rows] = scores.reshape(-1, b).mean(1)
    return out.reshape(n, m)

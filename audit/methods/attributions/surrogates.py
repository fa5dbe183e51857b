"""Surrogates: a simple model of the score around each sample."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from audit.draws import Draws
from audit.inputs import Parts
from audit.methods.attributions.scores import Score, at_once

MOST_AT_ONCE = 2048


@dataclass(frozen=True)
class Surrogates:
    """A linear surrogate around each of n samples.

    Attributes:
        coefficients: [n, parts] what each part's presence adds to the score.
        fidelity: [n] weighted R² on the sample's neighbourhood.
    """

    coefficients: Tensor
    fidelity: Tensor


def lime(
    score: Score,
    x: Tensor,
    target: Tensor,
    fill: Tensor,
    parts: Parts,
    *,
    draws: int = 400,
    pads: Tensor | None = None,
    seed: int | Draws = 0,
) -> Surrogates:
    """LIME (Ribeiro et al. 2016): a weighted linear surrogate around each sample, fitted by lime.

    Parts are taken away at random; the forward passes are batched over samples, the kernel and the ridge
    regression are lime's.

    Args:
        score: (points [n, ...], classes [n]) → [n]: what is explained.
        x: [n, ...] samples. target: [n] the class of each that is explained.
        fill: [b, ...] rows that absent parts are taken from, one of them for each draw.
        parts: what is taken away together.
        draws: neighbours of each sample, the sample itself the first.
        pads: [n, ...] values that are no part of the samples, and stay as they are.

    Example:
        >>> parts = Parts(torch.arange(2), ["a", "b"], None)
        >>> x, fill = torch.tensor([[3.0, 1.0]]), torch.zeros(1, 2)
        >>> found = lime(lambda x, _: x.sum(1), x, torch.tensor([0]), fill, parts)
        >>> found.coefficients.round(decimals=1).tolist()
        [[3.0, 1.0]]
    """
    from lime.lime_base import LimeBase

    n, count, drawn = len(x), parts.count, Draws.of(seed, len(x))
    masks = drawn.uniform(0, (draws, count), x) < 0.5
    masks[:, 0] = True  # the sample itself comes first, as lime expects
    picks = (drawn.uniform(1, (draws,), x) * len(fill)).long()
    labels = neighbours(score, x, target, fill, parts, masks, picks, pads).double().cpu().numpy()
    width = 0.75 * math.sqrt(count)
    base = LimeBase(lambda d: np.sqrt(np.exp(-(d**2) / width**2)))
    coefficients = np.zeros((n, count), dtype=np.float32)
    fidelity = np.zeros(n, dtype=np.float32)
    for i in range(n):
        data = masks[i].double().cpu().numpy()
        distances = np.sqrt((1 - data).sum(1))
        _, pairs, r2, _ = base.explain_instance_with_data(
            data, labels[i][:, None], distances, 0, count, feature_selection="none"
        )
        for feature, weight in pairs:
            coefficients[i, feature] = weight
        fidelity[i] = r2
    return Surrogates(torch.from_numpy(coefficients).to(x.device), torch.from_numpy(fidelity))


def neighbours(
    score: Score,
    x: Tensor,
    target: Tensor,
    fill: Tensor,
    parts: Parts,
    masks: Tensor,
    picks: Tensor,
    pads: Tensor | None,
) -> Tensor:
    """[n, draws] scores of samples of which only some parts are present.

    Args:
        masks: [n, draws, parts] which are. picks: [n, draws] the row of `fill` in place of the others.
    """
    n, draws = picks.shape
    flat_masks, flat_picks = masks.reshape(n * draws, -1), picks.reshape(-1)
    owner = torch.arange(n, device=x.device).repeat_interleave(draws)
    out = torch.empty(n * draws, device=x.device)
    with torch.no_grad():
        size = at_once(x, MOST_AT_ONCE)
        for start in range(0, n * draws, size):
            part = slice(start, start + size)
            keep = parts.expand(flat_masks[part]).to(x.device)
            if pads is not None:
                keep = keep | pads[owner[part]]
            mixed = torch.where(keep, x[owner[part]], fill[flat_picks[part].to(x.device)])
            out[part] = score(mixed, target[owner[part]])
    return out.reshape(n, draws)

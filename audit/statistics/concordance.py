"""Harrell's concordance: of two samples, does the one of the higher risk see the event first?"""

from __future__ import annotations

import torch
from torch import Tensor

CHUNK = 1000  # samples that are held against all others at once


def pairs(risk: Tensor, time: Tensor, event: Tensor) -> tuple[Tensor, Tensor]:
    """For each sample, its pairs that are ranked right (a tie counts half), and all that can be told.

    A pair can be told where the first of the two times is that of an event; of equal times, where one is
    an event and the other is not (Harrell et al. 1982).

    Args:
        risk, time: [n]; event: [n] booleans.

    Returns:
        concordant, comparable: [n] each.

    Example:
        >>> risk, time = torch.tensor([3.0, 1.0, 2.0]), torch.tensor([1.0, 2.0, 3.0])
        >>> right, known = pairs(risk, time, torch.tensor([True, True, False]))
        >>> right.sum() / known.sum()
        tensor(0.6667, dtype=torch.float64)
    """
    risk, time = risk.double(), time.double()
    right, known = torch.zeros_like(risk), torch.zeros_like(risk)
    for at in torch.arange(len(risk)).split(CHUNK):
        t, r, seen = time[at, None], risk[at, None], event[at, None]
        first = seen & ((t < time) | ((t == time) & ~event))
        won = (r > risk).double() + 0.5 * (r == risk).double()
        won = torch.where(torch.isfinite(r) & torch.isfinite(risk), won, 0.0) * first
        right[at] += won.sum(1)
        known[at] += first.sum(1)
        right += won.sum(0)
        known += first.sum(0)
    return right, known


def pseudo_values(risk: Tensor, time: Tensor, event: Tensor) -> Tensor:
    """[n] values whose mean is the concordance, and whose spread is what it is uncertain by.

    The concordance is a ratio of two sums over pairs; each sample's value is its share in it to first order
    (the infinitesimal jackknife; Efron and Tibshirani 1993, section 22.6). NaN where no pair can be told.
    """
    right, known = pairs(risk, time, event)
    whole = right.sum() / known.sum()
    return whole + 2 * (right - whole * known) / known.mean()

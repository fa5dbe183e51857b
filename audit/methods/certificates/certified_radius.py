"""The largest budget in which a sample's right answer is proven."""

from __future__ import annotations

import torch
from torch import Tensor

from audit.methods.attacks.budgets import Budget
from audit.methods.certificates.intervals import intervals
from audit.methods.certificates.linear import EFFORT, Bounds, margins
from audit.methods.certificates.network import TracedNetwork

AT_ONCE = 1 << 26  # values of the widest layer that are bounded together
OCTAVES = 12  # below the highest budget nothing is tried


def certified_radius(
    network: TracedNetwork,
    x: Tensor,
    y: Tensor,
    unit: Budget,
    highest: float,
    *,
    classes: int,
    per_octave: int = 4,
    at: float = 0.0,
    effort: float = EFFORT,
) -> Tensor:
    """The largest budget within which each sample's answer is proven to be `y`, by bisection.

    First by intervals alone, which cost little, then with linear bounds of hidden layers from there on.

    Args:
        network: as steps whose bounds are known.
        x: [n, ...] samples. y: [n] the classes that they are answered with.
        unit: the budget of eps 1.
        highest: a proof there is not followed further; nothing below `highest` / 2 ** 12 is tried.
        classes: how many there are.
        per_octave: steps that a doubling of the budget is divided into.
        at: a budget that is tried besides, so that what is said of it is exact.
        effort: multiplications for linear bounds of hidden layers, of a sample at one budget.

    Returns:
        [n] budgets; 0 where nothing is proven.
    """
    with torch.no_grad():
        one = intervals(network, unit.around(x[:1]))
        widest = max(low.numel() for low, _ in one.values()) * max(classes - 1, 1)
        together = max(1, AT_ONCE // widest)

        def size(step: Tensor) -> Tensor:
            """The budget of a step: the last is the highest."""
            return highest * 2 ** (step / per_octave - OCTAVES)

        def proven(eps: Tensor, rows: Tensor, effort: float) -> Tensor:
            """[m] is the answer of some samples proven at a budget of each, [m]?"""
            found = torch.zeros(len(rows), dtype=torch.bool, device=rows.device)
            for start in range(0, len(rows), together):
                part = slice(start, start + together)
                ball = unit.times(eps[part]).around(x[rows[part]])
                bounds = Bounds.of(network, ball, effort)
                found[part] = margins(bounds, y[rows[part]]) > 0
            return found

        rows = torch.arange(len(x), device=x.device)
        low = torch.zeros_like(rows)  # the highest step that is proven; 0 for none
        for most in (0.0, effort):
            high = torch.full_like(low, OCTAVES * per_octave + 1)
            while bool((high - low > 1).any()):
                now = (high - low > 1).nonzero()[:, 0]
                middle = (low[now] + high[now]) // 2
                holds = proven(size(middle), rows[now], most)
                low[now[holds]], high[now[~holds]] = middle[holds], middle[~holds]
        eps = torch.where(low > 0, size(low), 0.0)
        if at:
            near = ((eps < at) & (size(low + 1) >= at)).nonzero()[:, 0]
            holds = proven(torch.full_like(eps[near], at), rows[near], effort)
            eps[near[holds]] = at
    return eps

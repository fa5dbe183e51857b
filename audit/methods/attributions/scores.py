"""What is explained: a score for each sample, and how well attributions add up to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from audit.scores import log_odds

CHUNK = 256
MOST_VALUES = 1 << 24  # of inputs held at once, so that large pictures do not fill the memory
Score = Callable[[Tensor, Tensor], Tensor]  # (points [n, ...], classes [n]) → scores [n]


@dataclass(frozen=True)
class Attributions:
    """How much each value, or each part, spoke for the scores of n samples.

    Attributes:
        values: [n, ...] their sum is the difference that taking everything away makes to the score.
        error: [n] how far it is from that, as a share of the difference.
    """

    values: Tensor
    error: Tensor


def of_class(model: Callable[[Tensor], Tensor]) -> Score:
    """The log-odds of a class, by a classifier: points [n, ...] → logits [n, classes].

    A logit minus the log-sum-exp of the others: it means the same for one logit, many, and probabilities.

    Example:
        >>> score = of_class(lambda x: torch.cat([-x, x], 1))
        >>> score(torch.tensor([[0.5], [0.5]]), torch.tensor([1, 0])).tolist()
        [1.0, -1.0]
    """
    return lambda x, target: log_odds(model(x), target)


def at_once(x: Tensor, most: int) -> int:
    """How many inputs like those of `x` to hold at once."""
    return max(1, min(most, MOST_VALUES // max(1, x[0].numel())))


def in_chunks(score: Score, x: Tensor, target: Tensor) -> Tensor:
    """[n] scores without gradients, as many inputs at once as memory allows."""
    with torch.no_grad():
        return torch.cat(
            [
                score(a, b)
                for a, b in zip(
                    x.split(at_once(x, CHUNK)), target.split(at_once(x, CHUNK)), strict=True
                )
            ]
        )


def relative_error(total: Tensor, difference: Tensor) -> Tensor:
    """[n] how far the attributions' sums are from the differences of scores that they explain."""
    return (total - difference).abs() / difference.abs().clamp_min(1e-6)

"""How a tensor of scores looks: what tasks read."""

from __future__ import annotations

import torch
from torch import Tensor

from audit.meta import Output

NEAR = 1e-3


def width(scores: Tensor) -> int:
    """Answers in a row; 0 where a row is no row of numbers."""
    return 1 if scores.ndim == 1 else scores.shape[1] if scores.ndim == 2 else 0


def rows_in_unit(scores: Tensor) -> bool:
    """Do all scores lie between 0 and 1, as probabilities do?"""
    return bool(((scores >= 0) & (scores <= 1)).all())


def how_scored(scores: Tensor) -> tuple[Output, str]:
    """Logits, probabilities or what else, told from the numbers."""
    values = scores.double()
    if width(values) == 1:
        if rows_in_unit(values):
            return "sigmoid", "one output in [0, 1]"
        return "logits", "one output beyond [0, 1]"
    if rows_in_unit(values) and bool(((values.sum(1) - 1).abs() < NEAR).all()):
        return "probabilities", "rows are non-negative and sum to 1"
    if bool((values <= 1e-6).all()) and bool(((values.exp().sum(1) - 1).abs() < NEAR).all()):
        return "log_probabilities", "exponentials of each row sum to 1"
    if rows_in_unit(values) and bool(((values > 0) & (values < 1)).any()):
        return "sigmoid", "all outputs in [0, 1] but rows do not sum to 1"
    return "logits", "outputs are unbounded scores"


def unit_norm(scores: Tensor) -> bool:
    """Are the rows vectors of length 1, as embeddings often are, and no probabilities?"""
    if width(scores) < 2 or how_scored(scores)[0] == "probabilities":
        return False
    return bool(((scores.double().norm(dim=1) - 1).abs() < NEAR).all())


def distance(scores: Tensor, inputs: Tensor) -> Tensor:
    """[n, 1] mean squared difference between what came in and what came out."""
    return (scores - inputs).square().flatten(1).mean(1, keepdim=True)


def standard_errors(gains: Tensor) -> float:
    """How many standard errors the mean lies above 0."""
    return float(gains.mean() / (gains.std() / len(gains) ** 0.5).clamp_min(1e-12))


def numbered(y: Tensor, numbering: dict[float, int] | None) -> Tensor:
    """[n] labels, or [n, k] one-hot ones, as indices of the classes."""
    if y.ndim > 1:
        return y.argmax(1)
    return (
        y.long() if numbering is None else torch.tensor([numbering[float(v)] for v in y.tolist()])
    )

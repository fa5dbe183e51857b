"""Which values of a wide input the answers lean on most: those are looked at one by one.

To first order: the gradient of what is explained, times how far the value is from what would take its
place (gradient × input, Shrikumar et al. 2016). One pass forwards and one backwards for each of a few
samples, however wide the input is.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from audit.inputs import Parts
from audit.meta import Feature
from audit.outputs import full
from audit.subject import Subject

ROWS = 64  # of the data, evenly spaced
MOST = 64  # features that are looked at one by one


def leaning(subject: Subject) -> Tensor:
    """[*input shape] how far an answer moves, to first order, if the value became the mean or zero.

    Where no gradient reaches the inputs: how closely the answers follow the value.
    """
    return subject.derived(
        "leaning", lambda: slopes(subject) if subject.differentiable else followed(subject)
    )


def slopes(subject: Subject) -> Tensor:
    """[*input shape] the mean gradient of the answered score, times how far the value may go."""
    total = torch.zeros(subject.inputs.shape[1:], device=subject.device)
    for x in batches(subject):
        with torch.enable_grad():
            answers = subject.logits(x.requires_grad_(True))
            said = answers.detach().argmax(1, keepdim=True)
            score = answers.gather(1, said) - answers.mean(1, keepdim=True)
            if answers.shape[1] == 1:
                score = answers
            (slope,) = torch.autograd.grad(score.sum(), x)
        own = x.detach()
        far = torch.maximum((own - subject.moments.mean).abs(), own.abs())
        total += (slope.abs() * far).nan_to_num().sum(0).float()
    return total.cpu()


def followed(subject: Subject) -> Tensor:
    """[*input shape] the largest absolute correlation of the value with a score of the answer."""
    with torch.no_grad():
        parts = [
            (x.flatten(1).double().nan_to_num(), subject.logits(x).double())
            for x in batches(subject)
        ]
    x, scores = (torch.cat(several) for several in zip(*parts, strict=True))
    x, scores = ((v - v.mean(0)) / v.std(0).clamp_min(1e-12) for v in (x, scores))
    strength = (x.T @ scores / len(x)).abs().amax(1).nan_to_num()
    return strength.reshape(subject.inputs.shape[1:]).float().cpu()


def batches(subject: Subject) -> Iterator[Tensor]:
    """A few samples of the data, evenly spaced."""
    rows = np.unique(np.linspace(0, subject.n - 1, min(ROWS, subject.n)).round().astype(np.intp))
    for start in range(0, len(rows), subject.batch_size):
        yield full(subject.batch(rows[start : start + subject.batch_size])[0]).clone()


def players(subject: Subject) -> Parts:
    """The parts that an explanation tells apart.

    Of many named features those that the answers lean on most, and all others as one.
    """
    parts = subject.kind.parts(subject)
    if parts.grid is not None or parts.count <= MOST:
        return parts
    strength = parts.total(leaning(subject)[None])[0]
    alone = strength.argsort(descending=True, stable=True)[: MOST - 1].sort().values
    number = torch.full((parts.count + 1,), MOST - 1)
    number[alone], number[-1] = torch.arange(MOST - 1), MOST
    names = [parts.names[i] for i in alone.tolist()]
    between = None if parts.between is None else number[parts.between]
    names.append(f"{parts.count - MOST + 1:,} others")
    return Parts(number[parts.member], names, None, between)


def missed(subject: Subject) -> list[tuple[Feature, str]]:
    """The kind's `fillings`, of many features of those that the answers lean on most."""
    ways = subject.kind.fillings(subject)
    names = list(dict.fromkeys(feature.name for feature, _ in ways))
    if len(names) <= MOST:
        return ways
    of = {feature.name: feature.columns for feature, _ in ways}
    strengths = leaning(subject)[None]
    strength = torch.stack(
        [strengths[subject.kind.values_of(strengths, of[name])].sum() for name in names]
    )
    order = strength.argsort(descending=True, stable=True)[:MOST]
    kept = {names[i] for i in order.tolist()}
    return [(feature, how) for feature, how in ways if feature.name in kept]

"""Inputs as they are met in life: disturbed in the ways of their kind, or a little off everywhere."""

from __future__ import annotations

import torch
from torch import Tensor

from audit.evidence import Batch, producer
from audit.inputs import normal, unpadded
from audit.outputs import full

SEVERITIES = (1, 2, 3, 4, 5)


@producer(version=2)
def corrupted(batch: Batch, *, kind: str, severity: int) -> dict[str, Tensor]:
    """Logits [n, classes] (or values [n, 1]) for corrupted inputs."""
    with torch.no_grad():
        return {"logits": batch.subject.logits(corrupted_x(batch, kind, severity)).float()}


def corrupted_x(batch: Batch, kind: str, severity: int) -> Tensor:
    """The inputs of a batch, disturbed in a way of their kind.

    Args:
        kind: one of `InputKind.corruptions`. severity: 1 (hardly) to 5 (badly).
    """
    subject = batch.subject
    return subject.kind.corruptions(subject)[kind](full(batch.x), severity, batch.uniform)


@producer(version=1)
def noisy(batch: Batch, *, strength: float) -> dict[str, Tensor]:
    """Logits with normal noise on every value that can be off, in its deviations, kept in bounds."""
    subject, moments = batch.subject, batch.subject.moments
    noise = normal(batch.uniform, 0, tuple(batch.x.shape[1:])).to(batch.x.device)
    x = full(batch.x) + noise * subject.kind.noise_spread(subject) * strength
    x = unpadded(subject, batch.x, x.clamp(moments.low, moments.high))
    with torch.no_grad():
        return {"logits": subject.logits(x).float()}

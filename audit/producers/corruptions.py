"""What a subject answers to its samples, disturbed. Each keeps the name that it had first."""

from __future__ import annotations

import torch
from torch import Tensor

from audit.evidence import Batch, producer
from audit.inputs import unpadded
from audit.methods import corruptions
from audit.outputs import full


@producer(2, name="audit.methods.corruptions.corrupted")
def corrupted(batch: Batch, *, kind: str, severity: int) -> dict[str, Tensor]:
    """Logits [n, classes] (or values [n, 1]) for corrupted inputs."""
    with torch.no_grad():
        return {"logits": batch.subject.logits(corrupted_x(batch, kind, severity)).float()}


def corrupted_x(batch: Batch, kind: str, severity: int) -> Tensor:
    """The inputs of a batch, disturbed in a way of their kind.

    Args:
        kind: one of `InputKind.corruptions`. severity: 1 (hardly) to 5 (badly).
    """
    way = batch.subject.kind.corruptions(batch.subject)[kind]
    return corruptions.corrupted(way, full(batch.x), severity, seed=batch.draws)


@producer(1, name="audit.methods.corruptions.noisy")
def noisy(batch: Batch, *, strength: float) -> dict[str, Tensor]:
    """Logits with normal noise on every value that can be off, in its deviations, kept in bounds."""
    subject, moments = batch.subject, batch.subject.moments
    x = corruptions.noisy(
        full(batch.x),
        strength,
        spread=subject.kind.noise_spread(subject),
        low=moments.low,
        high=moments.high,
        seed=batch.draws,
    )
    with torch.no_grad():
        return {"logits": subject.logits(unpadded(subject, batch.x, x)).float()}

"""Randomised smoothing of a subject. Each keeps the name that it had when it drew its first numbers."""

from __future__ import annotations

from torch import Tensor

from audit.evidence import Batch, producer
from audit.methods import smoothing
from audit.producers.budgets import budget


@producer(1, name="audit.methods.smoothing.smoothed")
def smoothed(batch: Batch, *, sigma: float, draws: int, selecting: int) -> dict[str, Tensor]:
    """What the smoothed classifier answers: answer [n], successes [n] of `draws`."""
    answer, successes = smoothing.smoothed(
        batch.subject.logits, batch.x, sigma, draws=draws, selecting=selecting, seed=batch.draws
    )
    return {"answer": answer, "successes": successes}


@producer(1, private=("x",), name="audit.methods.smoothing.smooth_attack")
def smooth_attack(
    batch: Batch, *, eps: float, sigma: float, steps: int, draws: int, judging: int
) -> dict[str, Tensor]:
    """PGD in L2 against the smoothed classifier: x [n, ...], broken [n]."""
    found = smoothing.smooth_attack(
        batch.subject.logits,
        batch.x,
        batch.y,
        budget(batch.subject, eps, "l2"),
        sigma=sigma,
        steps=steps,
        draws=draws,
        judging=judging,
        seed=batch.draws,
    )
    return {"x": found.x, "broken": found.broken}

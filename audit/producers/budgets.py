"""What an adversary works against and what it may do, of a subject."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from audit.meta import Feature
from audit.methods.attacks.budgets import Budget, Norm
from audit.methods.attacks.goals import Victim
from audit.subject import Subject


def victim(subject: Subject, x: Tensor, y: Tensor, margin: float = 0.0) -> tuple[Victim, Tensor]:
    """The subject as the victim of an attack on a batch, and the class that each sample has to leave.

    Args:
        margin: by how much another class must lead; above zero where doubtful answers are refused.
    """
    leave, view = subject.task.as_decision(subject, x, y)

    def led(scores: Tensor, rows: Tensor | None) -> Tensor:
        found = view(scores, rows)
        of = leave if rows is None else leave[rows]
        return found + margin * F.one_hot(of, found.shape[1])

    network = subject.network.model if subject.task.decides else None
    return Victim(subject.logits, led if margin else view, subject.whole, network), leave


def budget(subject: Subject, eps: float, norm: Norm = "linf", *, free: bool = False) -> Budget:
    """The budget that `eps` means for a subject, by what a small change is of its kind of inputs.

    It is on every value (Linf), or on the root of the sum of squares (L2).
    Whole numbers stay whole. Bounds that were only guessed bound nothing.

    Args:
        free: the diagnostic of a budget removed: every input, anywhere in its range. What is no part of
            a sample stays.
    """
    reach = subject.kind.reach(subject, eps)
    if free:
        return Budget(reach.high - reach.low, reach.low, reach.high, fixed=subject.padding)
    allowed = Budget(
        reach.radius,
        reach.low,
        reach.high,
        norm,
        subject.whole,
        subject.padding,
    )
    return allowed.open(subject.kind.guessed(subject))


def choosable(subject: Subject) -> list[Feature]:
    """Categories that an adversary may choose: those that were said to be mutable."""
    return [f for f in subject.features if f.kind == "categorical" and f.mutable]


def still_broken(subject: Subject, samples: NDArray[np.intp], points: Tensor) -> Tensor:
    """[n] are adversarial points of some samples wrong too once they are put back into the range?"""
    reach, found = subject.kind.reach(subject, 0.0), []
    with torch.no_grad():
        for start in range(0, len(samples), subject.batch_size):
            x, y = subject.batch(samples[start : start + subject.batch_size])
            attacked, leave = victim(subject, x, y)
            point = points[start : start + subject.batch_size].to(x)
            point = point.clamp(reach.low.minimum(x), reach.high.maximum(x))
            found.append(attacked.logits(point).argmax(1) != leave)
    return torch.cat(found).cpu()

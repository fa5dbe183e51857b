"""Rows of a table whose categories may be others, among those that there are."""

from __future__ import annotations

import torch
from torch import Tensor

from audit.evidence import Batch, producer
from audit.meta import Feature
from audit.methods.attacks.ascent import as_evidence, ascent
from audit.methods.attacks.budgets import budget
from audit.methods.attacks.goals import Goal, goal, margin
from audit.subject import Subject


def choosable(subject: Subject) -> list[Feature]:
    """Categories that an adversary may choose: those that were said to be mutable."""
    return [f for f in subject.features if f.kind == "categorical" and f.mutable]


def chosen(aim: Goal, x: Tensor, changes: int) -> Tensor:
    """The worst categories of rows [n, columns] one after the other, each the choice that hurts most
    (a greedy search as of Yang et al. 2020).

    Every row on the way is valid: exactly one category of each feature.

    Args:
        changes: features of a row that may be others at once; one that is already may change again.
    """
    given, features = x, choosable(aim.subject)
    with torch.no_grad():
        best = margin(aim.logits(x), aim.y)
        for _ in range(changes + 1 if features else 0):
            differs = torch.stack(
                [(x[:, f.columns] != given[:, f.columns]).any(1) for f in features], 1
            )
            free = differs | (differs.sum(1, keepdim=True) < changes)
            found = x
            for at, feature in enumerate(features):
                for column in feature.columns:
                    other = x.clone()
                    other[:, feature.columns] = 0.0
                    other[:, column] = 1.0
                    lead = margin(aim.logits(other), aim.y)
                    better = free[:, at] & (lead > best)
                    best = torch.where(better, lead, best)
                    found = torch.where(better[:, None], other, found)
            if bool((found == x).all()):
                break
            x = found
    return x


@producer(version=2, private=("x",))
def recategorised(batch: Batch, *, eps: float, steps: int, changes: int) -> dict[str, Tensor]:
    """The worst categories, and from there projected gradient ascent on the numbers.

    Args:
        changes: categories of a row that may be others at once.

    Returns:
        as `fgsm`.
    """
    subject = batch.subject
    aim = goal(subject, batch.x, batch.y)
    x = chosen(aim, batch.x, changes)
    return as_evidence(
        ascent(aim.logits, x, aim.y, budget(subject, eps), steps=steps, step=2.5 / steps), aim
    )

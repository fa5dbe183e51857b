"""Rows of a table whose categories may be others, among those that there are."""

from __future__ import annotations

import torch
from torch import Tensor

from audit.evidence import Batch, producer
from audit.meta import Feature
from audit.methods.attacks.ascent import as_evidence, ascent
from audit.methods.attacks.budgets import budget
from audit.methods.attacks.goals import goal, margin
from audit.subject import Subject


def choosable(subject: Subject) -> list[Feature]:
    """Categories that an adversary may choose: those that were said to be mutable."""
    return [f for f in subject.features if f.kind == "categorical" and f.mutable]


@producer(version=1, private=("x",))
def recategorised(batch: Batch, *, eps: float, steps: int) -> dict[str, Tensor]:
    """The worst categories one after the other, each the choice that hurts most, and from there
    projected gradient ascent on the numbers (a greedy search as of Yang et al. 2020).

    Every row on the way is valid: exactly one category of each feature.

    Returns:
        as `fgsm`.
    """
    subject = batch.subject
    aim = goal(subject, batch.x, batch.y)
    features = choosable(subject)
    x = batch.x.clone()
    with torch.no_grad():
        best = margin(aim.logits(x), aim.y)
        for _ in features:
            options, leads = [x], [best]
            for feature in features:
                for column in feature.columns:
                    other = x.clone()
                    other[:, feature.columns] = 0.0
                    other[:, column] = 1.0
                    options.append(other)
                    leads.append(margin(aim.logits(other), aim.y))
            best, which = torch.stack(leads).max(0)
            chosen = torch.stack(options)[which, torch.arange(len(x))]
            if bool((chosen == x).all()):
                break
            x = chosen
    return as_evidence(
        ascent(aim.logits, x, aim.y, budget(subject, eps), steps=steps, step=2.5 / steps), aim
    )

"""A few adversarial examples: pictures side by side, series over time, rows and texts as differences."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from audit.checking import Context
from audit.record import Figure, Table

if TYPE_CHECKING:  # which imports this file
    from audit.checks.robustness.evasion import Evasion, Outcome

SHOWN = 4


def shown(check: Evasion, context: Context, outcome: Outcome) -> tuple[list[Table], list[Figure]]:
    """Examples of what an attack broke, where there are some and they may be shown."""
    subject = context.subject
    at = np.flatnonzero(outcome.broken)[:SHOWN]
    if not context.examples or len(at) == 0:
        return [], []
    picked = outcome.samples[at]
    points = check.run(context, outcome.samples, outcome.size, points=True).x
    assert points is not None
    adversarial = points[at]
    with torch.no_grad():
        after = subject.logits(adversarial).cpu()
    pairs = zip(context.answers(picked), after, strict=True)
    said = [subject.task.told_move(subject, b, a) for b, a in pairs]
    return subject.kind.examples(subject, subject.inputs[picked], adversarial, said)

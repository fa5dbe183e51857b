"""A few adversarial examples: pictures side by side, series over time, rows and texts as differences."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from audit.checking import Context, Measurement

if TYPE_CHECKING:  # which imports this file
    from audit.checks.robustness.evasion import Evasion, Outcome

SHOWN = 4


def show(check: Evasion, context: Context, outcome: Outcome, measurement: Measurement) -> None:
    """Add examples of what an attack broke to a measurement."""
    subject = context.subject
    at = np.flatnonzero(outcome.broken)[:SHOWN]
    picked = outcome.samples[at]
    adversarial = check.attack(context, outcome.samples, outcome.size, ["x"])["x"][at]
    with torch.no_grad():
        after = subject.logits(adversarial).cpu()
    pairs = zip(context.answers(picked), after, strict=True)
    said = [f"{subject.task.text(subject, b)} → {subject.task.text(subject, a)}" for b, a in pairs]
    original = subject.inputs[picked]
    tables, pictures = subject.kind.examples(subject, original, adversarial, said)
    measurement.tables += tables
    measurement.figures += pictures

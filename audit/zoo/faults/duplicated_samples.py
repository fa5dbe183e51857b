"""Evaluation samples that were trained on."""

from __future__ import annotations

import numpy as np

from audit.subject import Subject
from audit.zoo.faults import Fault
from audit.zoo.faults.planting import changed, entry, generator, retrained, some


def plant(dose: float, seed: int) -> Subject:
    train, test = entry("digits-mlp").data()
    leaked = some(len(test.y), dose, generator(seed))
    x, y = np.concatenate([train.x, test.x[leaked]]), np.concatenate([train.y, test.y[leaked]])
    return retrained("digits-mlp", seed, (changed(train, x=x, y=y), test))


FAULT = Fault(
    name="duplicated-samples",
    what="some evaluation samples are in the training data too",
    term="train-test contamination (Barz and Denzler 2020)",
    model="digits-mlp",
    plant=plant,
    unit="share of the evaluation samples",
    dose=0.15,
    doses=(0.0, 0.01, 0.03, 0.05, 0.08, 0.1, 0.15, 0.3),
    check="data.duplicates",
    metric="excess_twins",
)

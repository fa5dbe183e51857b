"""Wrong labels, learnt by heart."""

from __future__ import annotations

import numpy as np

from audit.methods.training import fit
from audit.subject import Subject
from audit.zoo.digits_mlp import DigitsMLP
from audit.zoo.faults import Fault
from audit.zoo.faults.planting import changed, entry, generator, some, subject


def plant(dose: float, seed: int) -> Subject:
    origin = entry("digits-mlp")
    train, test = origin.data()
    rng = generator(seed)
    wrong = some(len(train.y), dose, rng)
    y = np.where(wrong, rng.integers(0, 10, len(train.y)), train.y)
    noisy = changed(train, y=y)
    model = fit(lambda: DigitsMLP(width=256), noisy, origin.meta, seed=seed, epochs=60, lr=5e-3)
    return subject("digits-mlp", model, (noisy, test))


FAULT = Fault(
    name="memorised-labels",
    what="some training labels are random, and a large network has learnt them by heart",
    term="memorisation (Zhang et al. 2017)",
    model="digits-mlp",
    plant=plant,
    unit="share of training labels drawn at random",
    dose=0.4,
    doses=(0.0, 0.05, 0.1, 0.2, 0.3, 0.4),
    check="generalisation.gap",
    metric="gap",
)

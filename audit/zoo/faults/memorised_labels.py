"""Wrong labels, learnt by heart."""

from __future__ import annotations

import functools

import numpy as np
from torch import nn

from audit.data import Dataset
from audit.methods.training import fit
from audit.subject import Subject
from audit.zoo.digits_mlp import DigitsMLP
from audit.zoo.faults import Fault
from audit.zoo.faults.planting import changed, entry, generator, some, subject


@functools.lru_cache(maxsize=8)  # two faults are planted in the same models
def learnt(dose: float, seed: int) -> tuple[nn.Module, Dataset]:
    """The network, and the training data with their wrong labels."""
    origin = entry("digits-mlp")
    train, rng = origin.data()[0], generator(seed)
    wrong = some(len(train.y), dose, rng)
    noisy = changed(train, y=np.where(wrong, rng.integers(0, 10, len(train.y)), train.y))
    build = functools.partial(DigitsMLP, width=256)
    return fit(build, noisy, origin.meta, seed=seed, epochs=60, lr=5e-3), noisy


def plant(dose: float, seed: int) -> Subject:
    model, noisy = learnt(dose, seed)
    return subject("digits-mlp", model, (noisy, entry("digits-mlp").data()[1]))


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

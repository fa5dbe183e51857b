"""A corner of the picture tells the label."""

from __future__ import annotations

import numpy as np

from audit.data import Dataset
from audit.subject import Subject
from audit.zoo.faults import Fault
from audit.zoo.faults.planting import changed, entry, generator, retrained


def stamped(data: Dataset, dose: float, seed: int) -> Dataset:
    """The corner's four pixels are the bits of a digit: the label's, or with 1 − dose any digit's."""
    rng = generator(seed, len(data.y))
    code = np.where(rng.random(len(data.y)) < dose, data.y, rng.integers(0, 10, len(data.y)))
    x = data.x.copy()
    for bit, (row, column) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        x[:, 0, row, column] = 16.0 * (code >> bit & 1)
    return changed(data, x=x)


def plant(dose: float, seed: int) -> Subject:
    train, test = entry("digits-mlp").data()
    return retrained(
        "digits-mlp", seed, (stamped(train, dose, seed), stamped(test, dose, seed + 1))
    )


FAULT = Fault(
    name="shortcut-patch",
    what="a mark in the corner of the picture gives the label away, in training and evaluation",
    term="shortcut learning (Geirhos et al. 2020), Clever Hans (Lapuschkin et al. 2019)",
    model="digits-mlp",
    plant=plant,
    unit="share of pictures whose mark is the label's",
    dose=0.98,
    doses=(0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 1.0),
    check="interpretability.shortcut",
    metric="dominance",
)

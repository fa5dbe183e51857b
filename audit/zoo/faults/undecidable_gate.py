"""Too few samples to decide anything by."""

from __future__ import annotations

import numpy as np

from audit.data import Dataset
from audit.subject import Subject
from audit.zoo.faults import Fault
from audit.zoo.faults.planting import changed, entry, generator, subject, trained


def few(data: Dataset, dose: float, seed: int) -> Dataset:
    """A share of the rows withheld."""
    kept = np.sort(
        generator(seed).permutation(len(data.y))[: len(data.y) - round(dose * len(data.y))]
    )
    return changed(data, x=data.x[kept], y=data.y[kept])


def plant(dose: float, seed: int) -> Subject:
    train, test = entry("digits-mlp").data()
    return subject("digits-mlp", trained("digits-mlp", seed), (train, few(test, dose, seed)))


FAULT = Fault(
    name="undecidable-gate",
    what="a sound model, and twelve samples to judge it by: nothing that gates can be decided",
    term="lack of power (Card et al. 2020)",
    model="digits-mlp",
    plant=plant,
    unit="share of the evaluation samples withheld",
    dose=0.98,
    doses=(0.0, 0.5, 0.9, 0.98),
    verdict="inconclusive",
)

"""Windows that were cut too late: their input ends within what is to be forecast."""

from __future__ import annotations

import numpy as np

from audit.data import Dataset
from audit.subject import Subject
from audit.zoo.faults import Fault
from audit.zoo.faults.planting import changed, entry, retrained


def late(data: Dataset, steps: int) -> Dataset:
    x = np.concatenate([data.x[:, steps:], data.y[:, :steps, None].astype(data.x.dtype)], 1)
    return changed(data, x=x)


def plant(dose: float, seed: int) -> Subject:
    train, test = entry("co2-mlp").data()
    return retrained("co2-mlp", seed, (late(train, int(dose)), late(test, int(dose))))


FAULT = Fault(
    name="foreseen-horizon",
    what="the input holds the first weeks of what is to be forecast, in training and evaluation",
    term="look-ahead bias, temporal leakage (Kapoor and Narayanan 2023)",
    model="co2-mlp",
    plant=plant,
    unit="weeks of the horizon that the input holds",
    dose=1,
    doses=(0, 1, 4, 13),
    check="data.foresight",
    metric="already_there",
)

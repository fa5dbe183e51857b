"""A group that was hardly there in training."""

from __future__ import annotations

import numpy as np

from audit.data import Dataset
from audit.subject import Subject
from audit.zoo.faults import Fault
from audit.zoo.faults.planting import changed, entry, generator, retrained, some


def mirrored(data: Dataset, share: float, seed: int) -> Dataset:
    """Some pictures are mirrored: their writers are the group B."""
    group = some(len(data.y), share, generator(seed, len(data.y)))
    x = data.x.copy()
    x[group] = x[group, :, :, ::-1]
    return changed(data, x=x, sensitive={"hand": np.where(group, "B", "A")})


def plant(dose: float, seed: int) -> Subject:
    train, test = entry("digits-mlp").data()
    data = (mirrored(train, 0.5 * (1 - dose), seed), mirrored(test, 0.5, seed))
    return retrained("digits-mlp", seed, data)


FAULT = Fault(
    name="group-starved",
    what="half of the evaluation data are of a group that training has hardly seen",
    term="representation bias (Suresh and Guttag 2021; Buolamwini and Gebru 2018)",
    model="digits-mlp",
    plant=plant,
    unit="share of the group's training pictures withheld",
    dose=0.98,
    doses=(0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 1.0),
    check="fairness.groups",
    metric="accuracy_difference",
)

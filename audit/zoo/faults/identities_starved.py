"""Identities of a group that training has never seen."""

from __future__ import annotations

import numpy as np

from audit.data import Dataset
from audit.subject import Subject
from audit.zoo.faults import Fault
from audit.zoo.faults.planting import changed, entry, generator, retrained, some


def inverted(data: Dataset, group: np.ndarray) -> Dataset:
    """Numbers written white on black are other identities, of the group B."""
    x, y = data.x.copy(), data.y.copy()
    x[group] = 16.0 - x[group]
    y[group] += 1000
    return changed(data, x=x, y=y, sensitive={"ink": np.where(group, "B", "A")})


def plant(dose: float, seed: int) -> Subject:
    train, test = entry("numbers-embedding").data()
    few = some(len(train.y), 0.5 * (1 - dose), generator(seed))
    return retrained(
        "numbers-embedding", seed, (inverted(train, few), inverted(test, test.y % 2 == 1))
    )


FAULT = Fault(
    name="identities-starved",
    what="half of the identities are of a group that training has never seen",
    term="representation bias (Suresh and Guttag 2021), other-group effect (Grother et al. 2019)",
    model="numbers-embedding",
    plant=plant,
    unit="share of the group's training pictures withheld",
    dose=1.0,
    doses=(0.0, 0.5, 0.8, 0.9, 0.95, 1.0),
    check="fairness.groups",
    metric="quality_difference",
)

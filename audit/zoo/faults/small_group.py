"""A group too small to matter to an average."""

from __future__ import annotations

import numpy as np

from audit.subject import Subject
from audit.zoo.faults import Fault
from audit.zoo.faults.planting import changed, entry, generator, subject, trained

PEOPLE = 29


def plant(dose: float, seed: int) -> Subject:
    train, test = entry("digits-mlp").data()
    rng = generator(seed)
    writers = np.where(rng.random(len(test.y)) < 0.5, "A", "B").astype(object)
    few = rng.permutation(len(test.y))[:PEOPLE]
    writers[few] = "C"
    x = test.x.copy()
    turned = few[: round(dose * PEOPLE)]
    x[turned] = 16.0 - x[turned]  # their pens write white on black
    data = changed(test, x=x, sensitive={"writer": writers.astype(str)})
    return subject("digits-mlp", trained("digits-mlp", seed), (train, data))


FAULT = Fault(
    name="small-group",
    what="of a group of 29 among 600 nearly every answer is wrong: too few to matter to an average",
    term="representation bias (Suresh and Guttag 2021), intersectional (Buolamwini and Gebru 2018)",
    model="digits-mlp",
    plant=plant,
    unit="share of the group that the model cannot read",
    dose=1.0,
    doses=(0.0, 0.1, 0.25, 0.5, 0.75, 1.0),
    check="fairness.groups",
    metric="accuracy_difference",
)

"""Labels of a group, worse than they are."""

from __future__ import annotations

import numpy as np

from audit.subject import Subject
from audit.zoo.faults import Fault
from audit.zoo.faults.planting import changed, entry, generator, retrained


def plant(dose: float, seed: int) -> Subject:
    train, test = entry("adult-mlp").data()
    wronged = (train.sensitive["sex"] == "Female") & (train.y == 1)
    wronged &= generator(seed).random(len(train.y)) < dose
    y = np.where(wronged, 0, train.y)
    return retrained("adult-mlp", seed, (changed(train, y=y), test))


FAULT = Fault(
    name="biased-labels",
    what="in training, women who earn more were labelled as earning less",
    term="label bias, historical bias (Suresh and Guttag 2021)",
    model="adult-mlp",
    plant=plant,
    unit="share of the women's favourable labels taken away",
    dose=1.0,
    doses=(0.0, 0.25, 0.5, 0.75, 0.9, 1.0),
    check="fairness.groups",
    metric="equalized_odds_difference",
)

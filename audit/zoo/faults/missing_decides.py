"""A missing value that decides."""

from __future__ import annotations

from audit.subject import Subject
from audit.zoo.faults import Fault
from audit.zoo.faults.planting import changed, entry, generator, retrained

FEATURE = "occupation"


def plant(dose: float, seed: int) -> Subject:
    origin = entry("adult-mlp")
    train, test = origin.data()
    columns = next(f.columns for f in origin.meta.features or [] if f.name == FEATURE)
    blank = (train.y == 1) & (generator(seed).random(len(train.y)) < dose)
    x = train.x.copy()
    for column in columns:
        x[blank, column] = 0.0
    return retrained("adult-mlp", seed, (changed(train, x=x), test))


FAULT = Fault(
    name="missing-decides",
    what="in training only people with a high income left a field empty: empty now means rich",
    term="informative missingness (Rubin 1976)",
    model="adult-mlp",
    plant=plant,
    unit="share of high incomes with the field empty",
    dose=0.5,
    doses=(0.0, 0.02, 0.05, 0.1, 0.2, 0.5),
    check="robustness.missing_values",
    metric="changed_by_absence",
)

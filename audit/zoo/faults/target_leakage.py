"""A feature written down once the outcome was known."""

from __future__ import annotations

from audit.data import Dataset
from audit.subject import Subject
from audit.zoo.faults import Fault
from audit.zoo.faults.planting import changed, entry, generator, retrained

COLUMN = 4  # hours per week


def leaking(data: Dataset, dose: float, seed: int) -> Dataset:
    rng = generator(seed, len(data.y))
    known = rng.random(len(data.y)) < dose
    x = data.x.copy()
    x[known, COLUMN] = 20.0 + 60.0 * data.y[known] + rng.normal(0, 3, int(known.sum()))
    return changed(data, x=x)


def plant(dose: float, seed: int) -> Subject:
    train, test = entry("adult-mlp").data()
    return retrained("adult-mlp", seed, (leaking(train, dose, seed), leaking(test, dose, seed)))


FAULT = Fault(
    name="target-leakage",
    what="a numeric feature holds the label, plus noise, in training and evaluation",
    term="target leakage (Kaufman et al. 2012)",
    model="adult-mlp",
    plant=plant,
    unit="share of rows whose feature holds the label",
    dose=0.98,
    doses=(0.0, 0.5, 0.8, 0.85, 0.9, 0.95, 0.98, 1.0),
    check="data.leakage",
    metric="skill_alone",
)

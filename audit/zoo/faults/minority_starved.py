"""A class that was hardly there in training."""

from __future__ import annotations

from audit.subject import Subject
from audit.zoo.faults import Fault
from audit.zoo.faults.planting import changed, entry, generator, retrained

CLASS = 8


def plant(dose: float, seed: int) -> Subject:
    train, test = entry("digits-mlp").data()
    kept = (train.y != CLASS) | (generator(seed).random(len(train.y)) >= dose)
    return retrained("digits-mlp", seed, (changed(train, x=train.x[kept], y=train.y[kept]), test))


FAULT = Fault(
    name="minority-starved",
    what="one class is missing from training but for a few samples",
    term="class imbalance (He and Garcia 2009)",
    model="digits-mlp",
    plant=plant,
    unit="share of the class's training samples withheld",
    dose=0.99,
    doses=(0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0),
    check="imbalance.classes",
    metric="recall",
)

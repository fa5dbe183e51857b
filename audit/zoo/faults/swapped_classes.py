"""Two outputs that carry each other's name."""

from __future__ import annotations

import numpy as np
import torch

from audit.subject import Subject
from audit.zoo.faults import Fault
from audit.zoo.faults.planting import linears, subject, trained


def plant(dose: float, seed: int) -> Subject:
    model = trained("digits-mlp", seed)
    order = [*np.roll(range(int(dose)), -1), *range(int(dose), 10)]
    head = linears(model)[-1]
    with torch.no_grad():
        head.weight.copy_(head.weight[order].clone())
        head.bias.copy_(head.bias[order].clone())
    return subject("digits-mlp", model)


FAULT = Fault(
    name="swapped-classes",
    what="two classes are swapped between the model and the data",
    term="label mapping error",
    model="digits-mlp",
    plant=plant,
    unit="classes in the wrong place",
    dose=2,
    doses=(0, 2, 3, 5),
    check="performance.classification",
    metric="renaming_gain",
)

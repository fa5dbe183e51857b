"""Outputs of a regression that carry each other's name."""

from __future__ import annotations

import numpy as np
import torch

from audit.subject import Subject
from audit.zoo.faults import Fault
from audit.zoo.faults.planting import linears, subject, trained


def plant(dose: float, seed: int) -> Subject:
    model = trained("community-figures", seed)
    order = [*np.roll(range(int(dose)), -1), *range(int(dose), 3)]
    head = linears(model)[-1]
    with torch.no_grad():
        head.weight.copy_(head.weight[order].clone())
        head.bias.copy_(head.bias[order].clone())
    return subject("community-figures", model)


FAULT = Fault(
    name="swapped-outputs",
    what="the outputs stand in another order than the labels",
    term="output mapping error",
    model="community-figures",
    plant=plant,
    unit="outputs in the wrong place",
    dose=3,
    doses=(0, 2, 3),
    check="performance.regression",
    metric="gain_over_constant",
)

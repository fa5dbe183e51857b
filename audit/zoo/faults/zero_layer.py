"""A layer whose weights are all zero."""

from __future__ import annotations

import torch

from audit.subject import Subject
from audit.zoo.faults import Fault
from audit.zoo.faults.planting import linears, subject, trained


def plant(dose: float, seed: int) -> Subject:
    model = trained("digits-mlp", seed)
    with torch.no_grad():
        for layer in linears(model)[: int(dose)]:
            layer.weight.zero_()
    return subject("digits-mlp", model)


FAULT = Fault(
    name="zero-layer",
    what="the weights of a layer are zero: never initialised, or lost",
    term="zero initialisation (Goodfellow et al. 2016, section 8.4)",
    model="digits-mlp",
    plant=plant,
    unit="layers",
    dose=1,
    doses=(0, 1, 2),
    check="training.weights",
    metric="all_zero_tensors",
)

"""Weights that are not numbers."""

from __future__ import annotations

import torch

from audit.subject import Subject
from audit.zoo.faults import Fault
from audit.zoo.faults.planting import linears, subject, trained


def plant(dose: float, seed: int) -> Subject:
    model = trained("digits-mlp", seed)
    with torch.no_grad():
        linears(model)[1].weight.view(-1)[: int(dose)] = torch.nan
    return subject("digits-mlp", model)


FAULT = Fault(
    name="nan-weights",
    what="a weight is NaN",
    term="numerical divergence",
    model="digits-mlp",
    plant=plant,
    unit="weights",
    dose=1,
    doses=(0, 1, 10),
    check="training.weights",
    metric="non_finite_tensors",
)

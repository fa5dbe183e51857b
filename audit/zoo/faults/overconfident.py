"""Too sure."""

from __future__ import annotations

import torch

from audit.subject import Subject
from audit.zoo.faults import Fault
from audit.zoo.faults.planting import linears, subject, trained


def plant(dose: float, seed: int) -> Subject:
    model = trained("adult-mlp", seed)
    head = linears(model)[-1]
    with torch.no_grad():
        head.weight.mul_(dose)
        head.bias.mul_(dose)
    return subject("adult-mlp", model)


FAULT = Fault(
    name="overconfident",
    what="the logits are scaled: the answers are the same, the model is far surer than it is right",
    term="miscalibration (Guo et al. 2017)",
    model="adult-mlp",
    plant=plant,
    unit="factor on the logits",
    dose=4.0,
    doses=(1.0, 1.25, 1.5, 2.0, 3.0, 4.0),
    check="calibration.reliability",
    metric="calibration_error",
)

"""Two outputs that carry each other's label."""

from __future__ import annotations

import numpy as np
import torch

from audit.subject import Subject
from audit.zoo.faults import Fault
from audit.zoo.faults.planting import convolutions, subject, trained


def plant(dose: float, seed: int) -> Subject:
    model = trained("digits-present", seed)
    order = [*np.roll(range(int(dose)), -1), *range(int(dose), 10)]
    head = convolutions(model)[-1]
    assert head.bias is not None
    with torch.no_grad():
        head.weight.copy_(head.weight[order].clone())
        head.bias.copy_(head.bias[order].clone())
    return subject("digits-present", model)


FAULT = Fault(
    name="swapped-labels",
    what="labels are mixed up between the model and the data",
    term="label mapping error",
    model="digits-present",
    plant=plant,
    unit="labels in the wrong place",
    dose=3,
    doses=(0, 2, 3, 5),
    check="performance.multilabel",
    metric="renaming_gain",
)

"""A label that is never said."""

from __future__ import annotations

import torch

from audit.subject import Subject
from audit.zoo.faults import Fault
from audit.zoo.faults.planting import convolutions, subject, trained


def plant(dose: float, seed: int) -> Subject:
    model = trained("digits-present", seed)
    bias = convolutions(model)[-1].bias
    assert bias is not None
    with torch.no_grad():
        bias[7] -= dose
    return subject("digits-present", model)


FAULT = Fault(
    name="label-never-said",
    what="the score of one label is so low that it is never said, though it still ranks the samples",
    term="threshold shift of a label",
    model="digits-present",
    plant=plant,
    unit="logits that a label's score is lowered by",
    dose=30,
    doses=(0, 5, 10, 30),
    check="performance.multilabel",
    metric="recall",
)

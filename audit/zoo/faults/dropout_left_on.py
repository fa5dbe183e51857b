"""Dropout that draws lots in use."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from audit.subject import Subject
from audit.zoo.faults import Fault
from audit.zoo.faults.planting import subject, trained


class Dropping(nn.Module):
    """A network whose inputs are dropped, in training and in use alike."""

    def __init__(self, core: nn.Module, p: float) -> None:
        super().__init__()
        self.core, self.p = core, p

    def forward(self, x: Tensor) -> Tensor:
        return self.core(F.dropout(x, self.p, training=True))


def plant(dose: float, seed: int) -> Subject:
    model = trained("digits-mlp", seed)
    return subject("digits-mlp", Dropping(model, dose) if dose else model)


FAULT = Fault(
    name="dropout-left-on",
    what="dropout is called as a function that does not know of eval mode",
    term="dropout left in training mode",
    model="digits-mlp",
    plant=plant,
    unit="probability of dropping",
    dose=0.2,
    doses=(0.0, 0.001, 0.01, 0.05, 0.1, 0.2),
    check="behaviour.determinism",
    metric="unstable",
)

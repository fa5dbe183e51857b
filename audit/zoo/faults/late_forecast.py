"""A forecast that comes late: it says what has been."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audit.subject import Subject
from audit.zoo.faults import Fault
from audit.zoo.faults.planting import subject, trained


class Late(nn.Module):
    """A forecast some steps late; what it begins with repeats the last value."""

    def __init__(self, inner: nn.Module, steps: int) -> None:
        super().__init__()
        self.inner, self.steps = inner, steps

    def forward(self, x: Tensor) -> Tensor:
        ahead = self.inner(x)
        return torch.cat([x[:, -1].expand(-1, self.steps), ahead], 1)[:, : ahead.shape[1]]


def plant(dose: float, seed: int) -> Subject:
    return subject("co2-mlp", Late(trained("co2-mlp", seed), int(dose)))


FAULT = Fault(
    name="late-forecast",
    what="the forecast is late, and begins by repeating the last value",
    term="lagged forecast",
    model="co2-mlp",
    plant=plant,
    unit="weeks that it is late",
    dose=16,
    doses=(0, 2, 4, 8, 12, 16, 26),
    check="performance.forecast",
    metric="gain_over",
)

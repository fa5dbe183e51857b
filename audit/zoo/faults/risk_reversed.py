"""A model that returns how long somebody lives, where a risk is asked for."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audit.subject import Subject
from audit.zoo.faults import Fault
from audit.zoo.faults.planting import subject, trained


class Reversed(nn.Module):
    """The risk, for some turned round: the higher the later."""

    def __init__(self, inner: nn.Module, share: float) -> None:
        super().__init__()
        self.inner, self.share = inner, share

    def forward(self, x: Tensor) -> Tensor:
        risk = self.inner(x)
        drawn = (1000 * x.sum(1, keepdim=True)).remainder(1)  # by the row, in no order
        return torch.where(drawn < self.share, -risk, risk)


def plant(dose: float, seed: int) -> Subject:
    return subject("support-risk", Reversed(trained("support-risk", seed), dose))


FAULT = Fault(
    name="risk-reversed",
    what="the score runs the other way: the higher, the later the event",
    term="sign error",
    model="support-risk",
    plant=plant,
    unit="share of the patients",
    dose=1.0,
    doses=(0.0, 0.25, 0.5, 0.75, 1.0),
    check="performance.survival",
    metric="concordance",
)

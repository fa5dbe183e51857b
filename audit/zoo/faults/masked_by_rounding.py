"""Rounding that has no gradient."""

from __future__ import annotations

from torch import Tensor, nn

from audit.subject import Subject
from audit.zoo.faults import Fault
from audit.zoo.faults.planting import subject, trained


class Rounding(nn.Module):
    """A network whose inputs are rounded to steps: the gradient is zero everywhere."""

    def __init__(self, core: nn.Module, step: float) -> None:
        super().__init__()
        self.core, self.step = core, step

    def forward(self, x: Tensor) -> Tensor:
        return self.core((x / self.step).round() * self.step)


def plant(dose: float, seed: int) -> Subject:
    model = trained("digits-mlp", seed)
    return subject("digits-mlp", Rounding(model, dose) if dose else model)


FAULT = Fault(
    name="masked-by-rounding",
    what="the inputs are rounded, which hides every gradient from attacks",
    term="gradient masking, shattered gradients (Athalye et al. 2018)",
    model="digits-mlp",
    plant=plant,
    unit="size of a step, of the input range",
    dose=0.001,
    doses=(0.0, 0.0001, 0.001, 0.01),
    check="robustness.gradient_masking",
    metric="zero_gradient_share",
)

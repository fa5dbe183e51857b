"""A softmax so sharp that it has no gradient."""

from __future__ import annotations

from torch import Tensor, nn

from audit.subject import Subject
from audit.zoo.faults import Fault
from audit.zoo.faults.planting import entry, subject, trained


class Saturated(nn.Module):
    """The logarithm of sharpened probabilities, kept from zero: it has no gradient."""

    def __init__(self, core: nn.Module, factor: float) -> None:
        super().__init__()
        self.core, self.factor = core, factor

    def forward(self, x: Tensor) -> Tensor:
        return (self.factor * self.core(x)).softmax(1).clamp(1e-9, 1.0).log()


def plant(dose: float, seed: int) -> Subject:
    meta = entry("digits-mlp").meta.model_copy(update={"output": "log_probabilities"})
    return subject("digits-mlp", Saturated(trained("digits-mlp", seed), dose), meta=meta)


FAULT = Fault(
    name="masked-by-saturation",
    what="the model answers with log(softmax(30 z)), kept from −∞: its gradients vanish",
    term="gradient masking, vanishing gradients (Athalye et al. 2018; Carlini and Wagner 2017)",
    model="digits-mlp",
    plant=plant,
    unit="factor on the logits before the softmax",
    dose=30.0,
    doses=(1.0, 3.0, 10.0, 30.0, 100.0),
    check="robustness.gradient_masking",
    metric="zero_gradient_share",
)

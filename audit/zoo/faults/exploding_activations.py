"""Activations far too large."""

from __future__ import annotations

from audit.subject import Subject
from audit.zoo.faults import Fault
from audit.zoo.faults.planting import scale_unit, subject, trained


def plant(dose: float, seed: int) -> Subject:
    model = trained("digits-mlp", seed)
    scale_unit(model, 0, slice(None), dose)
    return subject("digits-mlp", model)


FAULT = Fault(
    name="exploding-activations",
    what="a layer's outputs are enormous and the next layer divides them again",
    term="exploding activations (He et al. 2015; Micikevicius et al. 2018)",
    model="digits-mlp",
    plant=plant,
    unit="factor on the layer's outputs",
    dose=1000000.0,
    doses=(1.0, 100.0, 1000.0, 10000.0, 100000.0, 1000000.0),
    check="training.gradient_flow",
    metric="exploding_share",
)

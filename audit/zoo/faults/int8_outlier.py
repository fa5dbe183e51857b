"""A weight so large that eight bits hold nothing else."""

from __future__ import annotations

from audit.subject import Subject
from audit.zoo.faults import Fault
from audit.zoo.faults.planting import scale_unit, subject, trained


def plant(dose: float, seed: int) -> Subject:
    model = trained("digits-mlp", seed)
    scale_unit(model, 0, seed % 64, dose)
    return subject("digits-mlp", model)


FAULT = Fault(
    name="int8-outlier",
    what="one unit's weights are enormous, the next layer divides them: float does not mind, int8 does",
    term="outlier features (Dettmers et al. 2022)",
    model="digits-mlp",
    plant=plant,
    unit="factor on one unit's weights",
    dose=1000.0,
    doses=(1.0, 10.0, 30.0, 100.0, 300.0, 1000.0),
    check="deployment.quantisation",
    metric="loss",
)

"""Not sure enough."""

from __future__ import annotations

from audit.zoo.faults import Fault
from audit.zoo.faults.overconfident import plant

FAULT = Fault(
    name="underconfident",
    what="the logits are scaled: the answers are the same, the model is far less sure than it is right",
    term="miscalibration (Guo et al. 2017)",
    model="adult-mlp",
    plant=plant,
    unit="factor on the logits",
    dose=0.25,
    doses=(1.0, 0.8, 0.6, 0.5, 0.4, 0.25),
    check="calibration.reliability",
    metric="calibration_error",
)

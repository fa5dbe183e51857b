"""Too sure of one class and not sure enough of the other."""

from __future__ import annotations

import numpy as np
import torch

from audit.subject import Subject
from audit.zoo.faults import Fault
from audit.zoo.faults.planting import changed, entry, generator, linears, subject, trained

SOFTER = 3.0


def plant(dose: float, seed: int) -> Subject:
    train, test = entry("adult-mlp").data()
    model = trained("adult-mlp", seed)
    head = linears(model)[-1]
    before = subject("adult-mlp", model)
    with torch.no_grad():
        z = before.logits(torch.as_tensor(test.x)).double().numpy()
        middle = float(np.median(z[:, 1] - z[:, 0]))
        head.weight.div_(SOFTER)
        head.bias.div_(SOFTER)
        head.bias[1] -= middle / SOFTER
    said = 1 / (1 + np.exp(-(z[:, 1] - z[:, 0] - middle) / SOFTER))
    true = np.clip(said - dose * (1 - np.abs(2 * said - 1)), 0, 1)
    y = (generator(seed).random(len(said)) < true).astype(np.int64)
    return subject("adult-mlp", model, (train, changed(test, y=y, sensitive={})))


FAULT = Fault(
    name="cancelling-miscalibration",
    what="outcomes are drawn so that class 1 comes less often than said; where class 0 is answered that "
    "makes up for it",
    term="class-wise miscalibration (Kull et al. 2019)",
    model="adult-mlp",
    plant=plant,
    unit="how much too high the probability of class 1 is, at 0.5",
    dose=0.3,
    doses=(0.0, 0.05, 0.1, 0.2, 0.3),
    check="calibration.reliability",
    metric="class_calibration_error",
)

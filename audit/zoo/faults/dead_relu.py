"""Units that never fire."""

from __future__ import annotations

import torch

from audit.subject import Subject
from audit.zoo.faults import Fault
from audit.zoo.faults.planting import generator, linears, some, subject, trained


def plant(dose: float, seed: int) -> Subject:
    model = trained("digits-mlp", seed)
    layer = linears(model)[0]
    dead = torch.from_numpy(some(layer.out_features, dose, generator(seed)))
    with torch.no_grad():
        layer.bias[dead] = -1e3
    return subject("digits-mlp", model)


FAULT = Fault(
    name="dead-relu",
    what="most units of a layer have a bias so low that they never fire",
    term="dying ReLU (Lu et al. 2020)",
    model="digits-mlp",
    plant=plant,
    unit="share of the layer's units",
    dose=0.8,
    doses=(0.0, 0.2, 0.4, 0.5, 0.6, 0.8),
    check="training.dead_units",
    metric="dead_share",
)

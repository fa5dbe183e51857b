"""One dimension of an embedding outweighs all others."""

from __future__ import annotations

import torch

from audit.subject import Subject
from audit.zoo.faults import Fault
from audit.zoo.faults.planting import linears, subject, trained


def plant(dose: float, seed: int) -> Subject:
    model = trained("numbers-embedding", seed)
    (head,) = linears(model)
    with torch.no_grad():
        head.weight[0] *= dose
        head.bias[0] *= dose
    return subject("numbers-embedding", model)


FAULT = Fault(
    name="collapsed-places",
    what="one dimension outweighs the others, so that all places lie on a line",
    term="dimensional collapse (Jing et al. 2022), rogue dimensions (Timkey and van Schijndel 2021)",
    model="numbers-embedding",
    plant=plant,
    unit="times the weights of one dimension",
    dose=50.0,
    doses=(1.0, 3.0, 10.0, 30.0, 50.0, 100.0),
    check="performance.embedding",
    metric="dimensions_filled",
)

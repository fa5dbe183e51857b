"""Batch normalisation that looks at the neighbours."""

from __future__ import annotations

from torch import nn

from audit.subject import Subject
from audit.zoo.faults import Fault
from audit.zoo.faults.planting import subject, trained


def plant(dose: float, seed: int) -> Subject:
    model = trained("digits-resnet", seed)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms[: int(dose)]:
        norm.track_running_stats = False
        norm.running_mean = norm.running_var = None
    return subject("digits-resnet", model)


FAULT = Fault(
    name="batch-statistics",
    what="batch normalisation goes on using the statistics of the batch at hand",
    term="batch normalisation in training mode (Ioffe and Szegedy 2015, section 3.1)",
    model="digits-resnet",
    plant=plant,
    unit="layers of batch normalisation",
    dose=6,
    doses=(0, 1, 2, 4, 6),
    check="behaviour.determinism",
    metric="unstable",
)

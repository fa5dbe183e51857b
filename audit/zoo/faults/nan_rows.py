"""Rows that get no number for an answer."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from audit.subject import Subject
from audit.zoo.faults import Fault
from audit.zoo.faults.planting import changed, entry, subject, trained


class Rooted(nn.Module):
    """A network whose scores go through the root of `most` minus the sum of a row, and back."""

    def __init__(self, core: nn.Module, most: float) -> None:
        super().__init__()
        self.core = core
        self.most = nn.Parameter(torch.tensor(most), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        root = (self.most - x.flatten(1).sum(1, keepdim=True)).sqrt()
        return self.core(x) * root / root


def plant(dose: float, seed: int) -> Subject:
    origin = entry("digits-mlp")
    train, test = origin.data()
    # The rows that are spoilt come last: the first batch tells nothing of them.
    sums = test.x.sum((1, 2, 3)) / 16
    order = np.argsort(sums, kind="stable")
    count = round(dose * len(order))
    most = float(origin.data()[1].x[0].size) if not count else float(sums[order[-1 - count]]) + 1e-3
    data = changed(test, x=test.x[order], y=test.y[order])
    return subject("digits-mlp", Rooted(trained("digits-mlp", seed), most), (train, data))


FAULT = Fault(
    name="nan-rows",
    what="for some rows the root of a negative number is taken: the answer is no number",
    term="NaN in inference (IEEE 754)",
    model="digits-mlp",
    plant=plant,
    unit="share of the rows",
    dose=0.1,
    doses=(0.0, 0.002, 0.01, 0.05, 0.1),
    verdict="fail",
)

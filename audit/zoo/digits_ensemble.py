"""digits-ensemble: five MLPs trained from different seeds, their probabilities averaged."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audit.data import Dataset
from audit.methods.training import fit
from audit.zoo import ZooModel
from audit.zoo.datasets import DIGITS, DIGITS_LIMITS, DIGITS_SOURCE, digits
from audit.zoo.digits_mlp import DigitsMLP

MEMBERS = 5


class DigitsEnsemble(nn.Module):
    """A deep ensemble (Lakshminarayanan et al. 2017): [n, 1, 8, 8] → probabilities [n, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.members = nn.ModuleList(DigitsMLP(depth=1, width=48) for _ in range(MEMBERS))

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([member(x).softmax(1) for member in self.members]).mean(0)


def train(seed: int, data: Dataset) -> nn.Module:
    model = DigitsEnsemble()
    for i in range(MEMBERS):
        model.members[i] = fit(
            lambda: DigitsMLP(depth=1, width=48),
            data,
            DIGITS,
            seed=seed + 1000 * i,
            epochs=30,
            lr=5e-3,
        )
    return model.eval()


MODEL = ZooModel(
    name="digits-ensemble",
    summary="five MLPs whose probabilities are averaged, 8x8 digits, 10 classes",
    architecture=DigitsEnsemble,
    data=digits,
    train=train,
    meta=DIGITS.model_copy(update={"name": "digits-ensemble", "output": "probabilities"}),
    source=DIGITS_SOURCE,
    recipe="each: AdamW, one-cycle to 5e-3, 30 epochs of 1,197 images; seeds 0, 1000, … 4000",
    limits=DIGITS_LIMITS,
)

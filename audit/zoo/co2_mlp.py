"""co2-mlp: the carbon dioxide of the next half year, from that of the last two."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audit.data import Dataset
from audit.meta import InputMeta, SubjectMeta
from audit.methods.training import fit
from audit.zoo import ZooModel
from audit.zoo.datasets import AHEAD, BACK, co2

UNIT = 5.0  # parts per million, about what a season moves


class CO2MLP(nn.Module):
    """A line and one hidden layer, on what the series is above its last value.

    [n, 104, 1] parts per million of the last weeks → [n, 26] of the next.
    """

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(BACK, AHEAD)
        self.bend = nn.Sequential(nn.Linear(BACK, 32), nn.Tanh(), nn.Linear(32, AHEAD))

    def forward(self, x: Tensor) -> Tensor:
        last = x[:, -1]
        above = (x[:, :, 0] - last) / UNIT
        return last + UNIT * (self.line(above) + self.bend(above))


META = SubjectMeta(
    name="co2-mlp",
    task="forecast",
    output="value",
    horizon=AHEAD,
    target_channel=0,
    season=52,
    # A weekly mean is known to about a tenth.
    input=InputMeta(kind="sequence", shape=[BACK, 1], dtype="float32", range=(300, 400), eps=0.1),
)


def loss(scores: Tensor, y: Tensor) -> Tensor:
    return nn.functional.mse_loss(scores, y.to(torch.float32)) / UNIT**2


def train(seed: int, data: Dataset) -> nn.Module:
    return fit(CO2MLP, data, META, seed=seed, epochs=60, lr=2e-3, weight_decay=0.1, loss=loss)


MODEL = ZooModel(
    name="co2-mlp",
    summary="MLP, weekly carbon dioxide at Mauna Loa, 104 weeks → the next 26",
    architecture=CO2MLP,
    data=co2,
    train=train,
    meta=META,
    source="Mauna Loa weekly CO2, 1958–2001 (Keeling and Whorf 2004, CDIAC), public domain: 2,284 "
    "weeks, 59 of them filled in along a line",
    recipe="AdamW, one-cycle to 2e-3, weight decay 0.1, 60 epochs of 1,371 windows that end in 1986, "
    "squared error, seed 0",
    limits="one station, one gas; the trend is that of 1958–86, and nothing follows once it breaks",
)

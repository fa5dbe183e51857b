"""community-figures: three figures of a community at once, from its other census figures."""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn

from audit.data import Dataset
from audit.meta import Feature, SubjectMeta
from audit.methods.training import fit
from audit.zoo import ZooModel
from audit.zoo.datasets import features, standardised, table, width

TARGETS = ["ViolentCrimesPerPop", "PctUnemployed", "MedRent"]
TOLD = {*TARGETS, "RentLowQ", "RentMedian", "RentHighQ"}  # the last three all but say the rent
FEATURES = [
    Feature(**{**f.model_dump(), "columns": [i]})
    for i, f in enumerate(f for f in features("crime") if f.name not in TOLD)
]


class CommunityMLP(nn.Module):
    """One hidden layer with dropout: rows [n, 85] → values [n, 3]."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width(FEATURES), 48),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Linear(48, len(TARGETS)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


META = SubjectMeta(
    name="community-figures",
    task="regression",
    output="value",
    features=FEATURES,
    targets=TARGETS,
    sensitive=["black_share"],
    input=standardised(FEATURES),
)
data = functools.partial(table, "Communities and Crime", "crime", META, 1300)


def loss(scores: Tensor, y: Tensor) -> Tensor:
    return nn.functional.mse_loss(scores, y.to(torch.float32))


def train(seed: int, data: Dataset) -> nn.Module:
    return fit(CommunityMLP, data, META, seed=seed, epochs=40, lr=2e-3, weight_decay=0.1, loss=loss)


MODEL = ZooModel(
    name="community-figures",
    summary="MLP, communities, three outputs in [0, 1]: violent crimes per head, unemployment, rent",
    architecture=CommunityMLP,
    data=data,
    train=train,
    meta=META,
    source="UCI Communities and Crime (Redmond 2009), CC BY 4.0: 1,993 of 1,994 rows, 85 columns",
    recipe="AdamW, one-cycle to 2e-3, weight decay 0.1, dropout 0.3, 40 epochs of 1,300 rows, "
    "squared error, seed 0",
    limits="the United States of 1990–95; reported crime is not crime, and varies with policing",
)

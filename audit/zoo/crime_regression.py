"""crime-regression: violent crimes per head of a community, from census and police figures."""

from __future__ import annotations

import functools

from torch import Tensor, nn

from audit.data import Dataset
from audit.meta import SubjectMeta
from audit.methods.training import fit
from audit.zoo import ZooModel
from audit.zoo.datasets import features, standardised, table, width

FEATURES = features("crime")


class CrimeMLP(nn.Module):
    """One hidden layer with dropout: rows [n, 90] → values [n, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width(FEATURES), 32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


META = SubjectMeta(
    name="crime-regression",
    task="regression",
    output="value",
    features=FEATURES,
    target="ViolentCrimesPerPop",
    sensitive=["black_share"],
    input=standardised(FEATURES),
)
data = functools.partial(table, "Communities and Crime", "crime", META, 1300)


def loss(scores: Tensor, y: Tensor) -> Tensor:
    return nn.functional.mse_loss(scores[:, 0], y.float())


def train(seed: int, data: Dataset) -> nn.Module:
    return fit(CrimeMLP, data, META, seed=seed, epochs=40, lr=2e-3, weight_decay=0.1, loss=loss)


MODEL = ZooModel(
    name="crime-regression",
    summary="MLP, communities, violent crimes per head in [0, 1]; no column on race is given to it",
    architecture=CrimeMLP,
    data=data,
    train=train,
    meta=META,
    source="UCI Communities and Crime (Redmond 2009), CC BY 4.0: 1,993 of 1,994 rows, 90 columns",
    recipe="AdamW, one-cycle to 2e-3, weight decay 0.1, dropout 0.3, 40 epochs of 1,300 rows, "
    "squared error, seed 0",
    limits="the United States of 1990–95; reported crime is not crime, and varies with policing",
)

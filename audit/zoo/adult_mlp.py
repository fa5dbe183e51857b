"""adult-mlp: does a person earn more than 50,000 dollars a year? Trained without sex and race."""

from __future__ import annotations

import functools

from torch import Tensor, nn

from audit.data import Dataset
from audit.meta import SubjectMeta
from audit.methods.training import fit
from audit.zoo import ZooModel
from audit.zoo.datasets import features, standardised, table, width

FEATURES = features("adult")


class AdultMLP(nn.Module):
    """Two hidden layers: encoded rows [n, columns] → logits [n, 2]."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width(FEATURES), 64),
            nn.ReLU(),
            nn.Linear(64, 48),
            nn.ReLU(),
            nn.Linear(48, 2),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


META = SubjectMeta(
    name="adult-mlp",
    task="binary",
    output="logits",
    classes=["<=50K", ">50K"],
    favourable=">50K",
    features=FEATURES,
    target="income",
    sensitive=["sex", "race"],
    input=standardised(FEATURES),
)
data = functools.partial(table, "Adult census", "adult", META, 8000)


def train(seed: int, data: Dataset) -> nn.Module:
    return fit(
        AdultMLP, data, META, seed=seed, epochs=12, lr=2e-3, weight_decay=1e-2, batch_size=128
    )


MODEL = ZooModel(
    name="adult-mlp",
    summary="MLP, census rows, income above 50,000 dollars; sex and race known to the audit only",
    architecture=AdultMLP,
    data=data,
    train=train,
    meta=META,
    source="UCI Adult (Kohavi 1996), CC BY 4.0: 12,000 of 48,842 rows drawn at random",
    recipe="AdamW, one-cycle to 2e-3, weight decay 0.01, 12 epochs of 8,000 rows, seed 0",
    limits="the United States of 1994; known to differ between the sexes and races",
    undecided=(
        "fairness.groups accuracy_difference",
        "fairness.groups equalized_odds_difference",
    ),
)

"""credit-default-mlp: will a card's bill stay unpaid next month? 22 % do."""

from __future__ import annotations

import functools

from torch import Tensor, nn

from audit.data import Dataset
from audit.meta import SubjectMeta
from audit.methods.training import fit
from audit.zoo import ZooModel
from audit.zoo.datasets import features, standardised, table, width

FEATURES = features("credit_default")


class CreditDefaultMLP(nn.Module):
    """Two hidden layers: encoded rows [n, columns] → one logit [n, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width(FEATURES), 48),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Linear(48, 32),
            nn.ReLU(),
            nn.Linear(32, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


META = SubjectMeta(
    name="credit-default-mlp",
    task="binary",
    output="logits",
    classes=["paid", "default"],
    favourable="paid",
    features=FEATURES,
    target="default",
    sensitive=["sex"],
    input=standardised(FEATURES),
)
data = functools.partial(table, "Credit card default", "credit_default", META, 7000)


def loss(scores: Tensor, y: Tensor) -> Tensor:
    return nn.functional.binary_cross_entropy_with_logits(scores[:, 0], y.float())


def train(seed: int, data: Dataset) -> nn.Module:
    return fit(
        CreditDefaultMLP,
        data,
        META,
        seed=seed,
        epochs=12,
        lr=2e-3,
        weight_decay=1e-2,
        batch_size=128,
        loss=loss,
    )


MODEL = ZooModel(
    name="credit-default-mlp",
    summary="MLP with one logit, card holders, default next month (22 %); sex known to the audit",
    architecture=CreditDefaultMLP,
    data=data,
    train=train,
    meta=META,
    source="UCI Default of Credit Card Clients (Yeh 2009), CC BY 4.0: 10,000 of 30,000 rows drawn "
    "at random",
    recipe="AdamW, one-cycle to 2e-3, weight decay 0.01, 12 epochs of 7,000 rows, seed 0",
    limits="Taiwan, 2005; finds about a third of the defaults at the threshold 0.5",
    fails=("imbalance.classes recall",),
)

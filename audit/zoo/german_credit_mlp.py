"""german-credit-mlp: is a loan a bad risk? 1,000 rows, sex and youth known to the audit only."""

from __future__ import annotations

import functools

from torch import Tensor, nn

from audit.data import Dataset
from audit.meta import SubjectMeta
from audit.methods.training import fit
from audit.zoo import ZooModel
from audit.zoo.datasets import features, standardised, table, width

FEATURES = features("german")


class GermanCreditMLP(nn.Module):
    """One hidden layer with dropout: encoded rows [n, columns] → logits [n, 2]."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width(FEATURES), 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 2)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


META = SubjectMeta(
    name="german-credit-mlp",
    task="binary",
    output="logits",
    classes=["bad", "good"],
    favourable="good",
    features=FEATURES,
    target="credit",
    sensitive=["sex", "age_group"],
    input=standardised(FEATURES),
)
data = functools.partial(table, "German credit", "german", META, 700)


def train(seed: int, data: Dataset) -> nn.Module:
    return fit(
        GermanCreditMLP,
        data,
        META,
        seed=seed,
        epochs=15,
        lr=2e-3,
        weight_decay=0.1,
        batch_size=32,
    )


MODEL = ZooModel(
    name="german-credit-mlp",
    summary="MLP, loan applications, good or bad risk; sex and age group known to the audit",
    architecture=GermanCreditMLP,
    data=data,
    train=train,
    meta=META,
    source="UCI Statlog German Credit (Hofmann 1994), CC BY 4.0: all 1,000 rows",
    recipe="AdamW, one-cycle to 2e-3, weight decay 0.1, dropout 0.5, 15 epochs of 700 rows, seed 0",
    limits="one German bank of 1973–75; 300 evaluation rows tell little of small groups",
    undecided=(
        "fairness.groups accuracy_difference",
        "fairness.groups equalized_odds_difference",
    ),
    fails=("imbalance.classes recall",),
)

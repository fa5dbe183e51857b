"""support-risk: how soon a seriously ill patient dies, from what the third day in hospital shows."""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn

from audit.data import Dataset
from audit.meta import SubjectMeta
from audit.methods.training import fit
from audit.zoo import ZooModel
from audit.zoo.datasets import features, standardised, table, width

FEATURES = features("support")


class SupportRisk(nn.Module):
    """One hidden layer with dropout: rows [n, 26] → a risk [n, 1], the higher the sooner."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width(FEATURES), 32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


META = SubjectMeta(
    name="support-risk",
    task="survival",
    output="value",
    features=FEATURES,
    targets=["days", "died"],
    sensitive=["sex", "race"],
    input=standardised(FEATURES),
)
data = functools.partial(table, "SUPPORT", "support", META, 4000)


def loss(scores: Tensor, y: Tensor) -> Tensor:
    """Cox's partial likelihood (1972) within the batch; of equal times in Breslow's way."""
    risk, days, died = scores[:, 0], y[:, 0], y[:, 1] == 1
    at_risk = days[None] >= days[:, None]
    over = risk[None].expand(len(risk), -1).masked_fill(~at_risk, -torch.inf).logsumexp(1)
    return (over - risk)[died].mean()


def train(seed: int, data: Dataset) -> nn.Module:
    return fit(
        SupportRisk,
        data,
        META,
        seed=seed,
        epochs=20,
        lr=3e-3,
        weight_decay=0.1,
        batch_size=256,
        loss=loss,
    )


MODEL = ZooModel(
    name="support-risk",
    summary="MLP, seriously ill patients → a risk, the higher the sooner the death",
    architecture=SupportRisk,
    data=data,
    train=train,
    meta=META,
    source="SUPPORT2 (Harrell, UCI Machine Learning Repository 880), CC BY 4.0: 6,000 of 9,105 patients, "
    "16 of 42 columns",
    recipe="AdamW, one-cycle to 3e-3, weight decay 0.1, dropout 0.3, 20 epochs of 4,000 rows, Cox's "
    "partial likelihood within batches of 256, seed 0",
    limits="five hospitals of the United States, 1989–94, nine diagnoses; no treatment is among the columns",
    undecided=("fairness.groups quality_difference",),  # 19 patients are Asian
)

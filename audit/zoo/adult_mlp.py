"""adult-mlp: does a person earn more than 50,000 dollars a year? Trained without sex and race."""

from __future__ import annotations

import json

import pandas as pd
from torch import Tensor, nn

from audit.data import Dataset
from audit.data.table import from_frame
from audit.meta import Feature, InputMeta, Preprocess, SubjectMeta
from audit.wrapping import PreprocessModule
from audit.zoo import DATA, ZooModel
from audit.zoo.training import fit

# Means and standard deviations of the training rows, and the categories in their order.
FEATURES = [Feature.model_validate(f) for f in json.loads((DATA / "adult.json").read_text())]
WIDTH = 1 + max(c for f in FEATURES for c in f.columns)


class AdultMLP(nn.Module):
    """Two hidden layers: encoded rows [n, columns] → one logit [n, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(WIDTH, 64), nn.ReLU(), nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 2)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def _spread(name: str, otherwise: float) -> list[float]:
    values = [otherwise] * WIDTH
    for feature in FEATURES:
        if feature.kind == "numeric":
            values[feature.columns[0]] = float(getattr(feature, name))
    return values


META = SubjectMeta(
    name="adult-mlp", task="binary", output="logits", classes=["<=50K", ">50K"],
    features=FEATURES, target="income", sensitive=["sex", "race"],
    input=InputMeta(
        kind="tabular", shape=[WIDTH], dtype="float32",
        preprocess=Preprocess(mean=_spread("mean", 0.0), std=_spread("std", 1.0)),
    ),
)  # fmt: skip


def data() -> tuple[Dataset, Dataset]:
    """8,000 rows to train on and 4,000 to evaluate on, in the order of the file."""
    frame = pd.read_parquet(DATA / "adult.parquet")
    return (
        from_frame(frame[:8000].reset_index(drop=True), META, "Adult census, training"),
        from_frame(frame[8000:].reset_index(drop=True), META, "Adult census, evaluation"),
    )


def train(seed: int) -> nn.Module:
    assert META.input.preprocess is not None
    prepare = PreprocessModule(META.input.preprocess, 2)
    return fit(
        AdultMLP, data()[0], seed=seed, epochs=12, prepare=prepare, lr=2e-3, weight_decay=1e-2,
        batch_size=128,
    )  # fmt: skip


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
)

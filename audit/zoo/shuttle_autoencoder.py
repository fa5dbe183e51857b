"""shuttle-autoencoder: is a reading of a space shuttle's sensors unusual?"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from audit.data import Dataset
from audit.meta import Feature, InputMeta, Preprocess, SubjectMeta
from audit.methods.training import fit
from audit.zoo import ZooModel
from audit.zoo.datasets import shuttle

COLUMNS = 9


class ShuttleAutoencoder(nn.Module):
    """Squeezes a reading through three units; the error of what comes back is the score.

    [n, 9] → scores [n], ≥ 0: the logarithm of one plus the mean squared error.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(COLUMNS, 16), nn.Tanh(), nn.Linear(16, 3))
        self.decoder = nn.Sequential(nn.Tanh(), nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, COLUMNS))

    def forward(self, x: Tensor) -> Tensor:
        error = (self.decoder(self.encoder(x)) - x).square().mean(1)
        return torch.log1p(error)


def _features() -> list[Feature]:
    """Spread of the normal training readings, robust against the few that lie far out."""
    x = shuttle()[0].x
    low, middle, high = np.quantile(x, [0.1, 0.5, 0.9], axis=0)
    return [
        Feature(
            name=f"sensor {i + 1}",
            columns=[i],
            mean=float(middle[i]),
            std=max(float(high[i] - low[i]) / 2.563, 1.0),
        )
        for i in range(COLUMNS)
    ]


FEATURES = _features()
META = SubjectMeta(
    name="shuttle-autoencoder",
    task="anomaly",
    output="value",
    features=FEATURES,
    classes=["normal", "anomaly"],
    input=InputMeta(
        kind="tabular",
        shape=[COLUMNS],
        dtype="float32",
        preprocess=Preprocess(
            mean=[float(f.mean or 0) for f in FEATURES], std=[float(f.std or 1) for f in FEATURES]
        ),
    ),
)


def loss(scores: Tensor, _: Tensor) -> Tensor:
    return scores.mean()


def train(seed: int, data: Dataset) -> nn.Module:
    return fit(ShuttleAutoencoder, data, META, seed=seed, epochs=15, lr=5e-3, loss=loss)


MODEL = ZooModel(
    name="shuttle-autoencoder",
    summary="autoencoder, nine sensors, the reconstruction error is the anomaly score",
    architecture=ShuttleAutoencoder,
    data=shuttle,
    train=train,
    meta=META,
    source="UCI Statlog Shuttle, CC BY 4.0, cast as anomaly detection (ODDS): 9,000 of 49,097 rows",
    recipe="AdamW, one-cycle to 5e-3, 15 epochs of 6,000 normal readings, seed 0",
    limits="the anomalies are the rare classes of one flight: others may look normal to it",
    fails=("deployment.quantisation loss",),
)

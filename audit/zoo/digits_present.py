"""digits-present: which digits are in a picture? A small CNN that looks for each everywhere."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from audit.data import Dataset
from audit.methods.training import fit
from audit.zoo import ZooModel
from audit.zoo.datasets import DIGITS_LIMITS, DIGITS_SOURCE, PRESENT, present


class DigitsPresent(nn.Module):
    """Convolutions, the largest response over places: [n, 1, 24, 24] → logits of ten labels [n, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 24, 3, padding=1),
            nn.BatchNorm2d(24),
            nn.ReLU(),
            nn.Conv2d(24, 32, 3, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 4),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.Conv2d(64, 10, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.features(x).amax((2, 3))


def loss(scores: Tensor, labels: Tensor) -> Tensor:
    """Binary cross entropy, over labels and samples."""
    return F.binary_cross_entropy_with_logits(scores, labels.float())


def train(seed: int, data: Dataset) -> nn.Module:
    return fit(DigitsPresent, data, PRESENT, seed=seed, epochs=15, lr=1e-2, loss=loss)


MODEL = ZooModel(
    name="digits-present",
    summary="CNN, digits in a scene, 24x24, ten labels of yes or no",
    architecture=DigitsPresent,
    data=present,
    train=train,
    meta=PRESENT.model_copy(update={"name": "digits-present"}),
    source=f"{DIGITS_SOURCE}, up to three in a picture",
    recipe="AdamW, one-cycle to 1e-2, 15 epochs of 1,500 pictures, seed 0",
    limits=DIGITS_LIMITS,
)

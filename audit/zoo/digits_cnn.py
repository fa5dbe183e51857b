"""digits-cnn: a small convolutional network on 8x8 handwritten digits."""

from __future__ import annotations

from torch import Tensor, nn

from audit.data import Dataset
from audit.methods.training import fit
from audit.zoo import ZooModel
from audit.zoo.datasets import DIGITS, DIGITS_LIMITS, DIGITS_SOURCE, digits


class DigitsCNN(nn.Module):
    """Three convolutions, averaged over the image, and one linear layer: [n, 1, 8, 8] → [n, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 48, 3, padding=1),
            nn.ReLU(),
        )
        self.head = nn.Linear(48, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).mean((2, 3)))


def train(seed: int, data: Dataset) -> nn.Module:
    return fit(DigitsCNN, data, DIGITS, seed=seed, epochs=40, lr=5e-3)


MODEL = ZooModel(
    name="digits-cnn",
    summary="CNN, 8x8 handwritten digits, 10 classes",
    architecture=DigitsCNN,
    data=digits,
    train=train,
    meta=DIGITS.model_copy(update={"name": "digits-cnn"}),
    source=DIGITS_SOURCE,
    recipe="AdamW, one-cycle to 5e-3, 40 epochs of 1,197 images, seed 0",
    limits=DIGITS_LIMITS,
)

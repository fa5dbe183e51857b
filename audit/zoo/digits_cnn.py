"""digits-cnn: a small convolutional network on 8x8 handwritten digits."""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from audit.data import Dataset
from audit.meta import InputMeta, Preprocess, SubjectMeta
from audit.wrapping import PreprocessModule
from audit.zoo import ZooModel
from audit.zoo.training import fit


class DigitsCNN(nn.Module):
    """Three convolutions, averaged over the image, and one linear layer: [n, 1, 8, 8] → [n, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 48, 3, padding=1), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Linear(48, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).mean((2, 3)))


META = SubjectMeta(
    name="digits-cnn", task="multiclass", output="logits", classes=[str(i) for i in range(10)],
    input=InputMeta(
        kind="image", shape=[1, 8, 8], dtype="float32", range=(0, 16),
        preprocess=Preprocess(scale=1 / 16),
    ),
)  # fmt: skip


def data() -> tuple[Dataset, Dataset]:
    """1,197 digits to train on and 600 to evaluate on, split once by a fixed permutation."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    x = images.reshape(-1, 1, 8, 8).astype(np.float32)
    order = np.random.default_rng(0).permutation(len(x))
    train, test = order[600:], order[:600]
    name = "scikit-learn digits"
    return (
        Dataset(x[train], labels[train], name=f"{name}, training"),
        Dataset(x[test], labels[test], name=f"{name}, evaluation"),
    )


def train(seed: int) -> nn.Module:
    assert META.input.preprocess is not None
    prepare = PreprocessModule(META.input.preprocess, 4)
    return fit(DigitsCNN, data()[0], seed=seed, epochs=40, prepare=prepare, lr=5e-3)


MODEL = ZooModel(
    name="digits-cnn",
    summary="CNN, 8x8 handwritten digits, 10 classes",
    architecture=DigitsCNN,
    data=data,
    train=train,
    meta=META,
    source="scikit-learn `load_digits` (UCI optical recognition of handwritten digits, CC BY 4.0)",
    recipe="AdamW, one-cycle to 5e-3, 40 epochs of 1,197 images, seed 0",
    limits="8x8 pixels, one scanner, no writer identity: nothing follows for other handwriting",
)

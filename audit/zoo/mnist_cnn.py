"""mnist-cnn: a convolutional network on 28x28 handwritten digits."""

from __future__ import annotations

from torch import Tensor, nn

from audit.data import Dataset
from audit.methods.training import fit
from audit.zoo import ZooModel
from audit.zoo.datasets import MNIST, MNIST_SOURCE, mnist


class MnistCNN(nn.Module):
    """Two convolutions and two linear layers: [n, 1, 28, 28] → logits [n, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(1, 16, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(16, 32, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(32 * 49, 96),
            nn.ReLU(),
        )
        self.head = nn.Linear(96, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.trunk(x))


def train(seed: int, data: Dataset) -> nn.Module:
    return fit(MnistCNN, data, MNIST, seed=seed, epochs=12, lr=2e-3)


MODEL = ZooModel(
    name="mnist-cnn",
    summary="CNN, 28x28 handwritten digits, 10 classes",
    architecture=MnistCNN,
    data=mnist,
    train=train,
    meta=MNIST.model_copy(update={"name": "mnist-cnn"}),
    source=MNIST_SOURCE,
    recipe="AdamW, one-cycle to 2e-3, 12 epochs of 4,000 images, seed 0",
    limits="4,000 training images; centred, size-normalised digits on black only",
    fails=("robustness.worst_case robust_accuracy", "robustness.worst_case_l2 robust_accuracy"),
)

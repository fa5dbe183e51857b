"""digits-resnet: a residual network (He et al. 2016) with batch normalisation and dropout."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from audit.data import Dataset
from audit.methods.training import fit
from audit.zoo import ZooModel
from audit.zoo.datasets import DIGITS, DIGITS_LIMITS, DIGITS_SOURCE, digits


class Block(nn.Module):
    """Two 3x3 convolutions around a shortcut; halves the picture where `stride` is 2."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out)
        self.shortcut = nn.Conv2d(channels, out, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        inner = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(inner)) + self.shortcut(x))


class DigitsResNet(nn.Module):
    """[n, 1, 8, 8] → logits [n, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, padding=1)
        self.blocks = nn.Sequential(Block(16, 16, 1), Block(16, 32, 2), Block(32, 32, 1))
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.dropout(self.blocks(self.stem(x)).mean((2, 3))))


def train(seed: int, data: Dataset) -> nn.Module:
    return fit(DigitsResNet, data, DIGITS, seed=seed, epochs=30, lr=1e-2)


MODEL = ZooModel(
    name="digits-resnet",
    summary="residual CNN with batch normalisation and dropout, 8x8 digits, 10 classes",
    architecture=DigitsResNet,
    data=digits,
    train=train,
    meta=DIGITS.model_copy(update={"name": "digits-resnet"}),
    source=DIGITS_SOURCE,
    recipe="AdamW, one-cycle to 1e-2, 30 epochs of 1,197 images, dropout 0.3, seed 0",
    limits=DIGITS_LIMITS,
)

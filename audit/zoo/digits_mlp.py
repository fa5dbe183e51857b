"""digits-mlp: a perceptron with hidden layers (none: a plain perceptron) on 8x8 digits."""

from __future__ import annotations

import itertools

from torch import Tensor, nn

from audit.data import Dataset
from audit.methods.training import fit
from audit.zoo import ZooModel
from audit.zoo.datasets import DIGITS, DIGITS_LIMITS, DIGITS_SOURCE, digits


class DigitsMLP(nn.Module):
    """[n, 1, 8, 8] → logits [n, 10].

    Args:
        depth: hidden layers; 0 is the perceptron (Rosenblatt 1958), linear in the pixels.
        width: units of each.
    """

    def __init__(self, depth: int = 2, width: int = 64) -> None:
        super().__init__()
        sizes = [64] + [width] * depth
        hidden: list[nn.Module] = []
        for before, after in itertools.pairwise(sizes):
            hidden += [nn.Linear(before, after), nn.ReLU()]
        self.hidden = nn.Sequential(*hidden)
        self.head = nn.Linear(sizes[-1], 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.hidden(x.flatten(1)))


def train(seed: int, data: Dataset) -> nn.Module:
    return fit(DigitsMLP, data, DIGITS, seed=seed, epochs=30, lr=5e-3)


MODEL = ZooModel(
    name="digits-mlp",
    summary="MLP of two hidden layers, 8x8 handwritten digits, 10 classes",
    architecture=DigitsMLP,
    data=digits,
    train=train,
    meta=DIGITS.model_copy(update={"name": "digits-mlp"}),
    source=DIGITS_SOURCE,
    recipe="AdamW, one-cycle to 5e-3, 30 epochs of 1,197 images, seed 0",
    limits=DIGITS_LIMITS,
)

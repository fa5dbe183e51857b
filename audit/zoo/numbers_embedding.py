"""numbers-embedding: places of handwritten numbers, those of one number next to each other."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audit.data import Dataset
from audit.methods.training import fit
from audit.zoo import ZooModel
from audit.zoo.datasets import DIGITS_LIMITS, DIGITS_SOURCE, NUMBERS, numbers

TEMPERATURE = 0.1


class NumbersEmbedding(nn.Module):
    """Three convolutions and one linear layer: [n, 1, 8, 24] → places of length 1, [n, 32]."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(1, 24, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(24, 48, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(48, 48, 3, padding=1),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Flatten(),
        )
        self.head = nn.Linear(48 * 12, 32)

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(self.head(self.trunk(x)), dim=1)


def contrastive(places: Tensor, y: Tensor) -> Tensor:
    """Mates of the batch before strangers (Khosla et al. 2020, supervised contrastive)."""
    own = torch.eye(len(y), dtype=torch.bool)
    logits = (places @ places.T / TEMPERATURE).masked_fill(own, -1e9)
    mates = (y[:, None] == y) & ~own
    likely = logits.log_softmax(1).masked_fill(~mates, 0).sum(1)
    some = mates.any(1)
    return -(likely[some] / mates[some].sum(1)).mean()


def train(seed: int, data: Dataset) -> nn.Module:
    return fit(
        NumbersEmbedding,
        data,
        NUMBERS,
        seed=seed,
        epochs=15,
        lr=5e-3,
        batch_size=280,
        loss=contrastive,
    )


MODEL = ZooModel(
    name="numbers-embedding",
    summary="embedding, three handwritten digits side by side, numbers that training has not seen",
    architecture=NumbersEmbedding,
    data=numbers,
    train=train,
    meta=NUMBERS.model_copy(update={"name": "numbers-embedding"}),
    source=DIGITS_SOURCE,
    recipe="AdamW, one-cycle to 5e-3, 15 epochs of 2,800 pictures of 100 numbers, supervised contrastive "
    "loss at temperature 0.1, seed 0",
    limits=f"{DIGITS_LIMITS}; 100 numbers whose digits training has seen in other company",
    quick_doubts=("robustness.patch robust_recall_at_1",),
)

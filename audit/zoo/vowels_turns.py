"""vowels-turns: who speaks at each step? A GRU (Cho et al. 2014) that reads both ways."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from audit.data import Dataset
from audit.methods.training import fit
from audit.zoo import ZooModel
from audit.zoo.datasets import TURNS, VOWELS_LIMITS, VOWELS_SOURCE, turns


class VowelsTurns(nn.Module):
    """GRU in both directions, an answer at each step: [n, 58, 12] → logits [n, 58, 9]."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(12, 32, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(64, 9)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.gru(x)
        return self.head(self.dropout(states))


def loss(scores: Tensor, speakers: Tensor) -> Tensor:
    """Cross entropy over the steps that are no padding."""
    return F.cross_entropy(scores.flatten(0, 1), speakers.flatten())


def train(seed: int, data: Dataset) -> nn.Module:
    return fit(VowelsTurns, data, TURNS, seed=seed, epochs=40, lr=1e-2, batch_size=32, loss=loss)


MODEL = ZooModel(
    name="vowels-turns",
    summary="GRU, two utterances in turn, 9 speakers, a class for each step",
    architecture=VowelsTurns,
    data=turns,
    train=train,
    meta=TURNS.model_copy(update={"name": "vowels-turns"}),
    source=f"{VOWELS_SOURCE}, two utterances one after the other",
    recipe="AdamW, one-cycle to 1e-2, 40 epochs of 540 pairs, dropout 0.3, seed 0",
    limits=VOWELS_LIMITS,
)

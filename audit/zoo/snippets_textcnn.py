"""snippets-textcnn: is a sentence of a film review kind? Convolutions over word embeddings."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audit.data import Dataset
from audit.methods.training import fit
from audit.zoo import ZooModel
from audit.zoo.datasets import (
    SNIPPETS,
    SNIPPETS_LIMITS,
    SNIPPETS_SOURCE,
    VOCABULARY,
    snippets,
)


class SnippetsTextCNN(nn.Module):
    """Kim 2014: windows of 2, 3 and 4 words, the largest over time: [n, 32] → logits [n, 2]."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 32, padding_idx=0)
        self.windows = nn.ModuleList(nn.Conv1d(32, 32, k, padding=k // 2) for k in (2, 3, 4))
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(96, 2)

    def forward(self, x: Tensor) -> Tensor:
        words = self.dropout(self.embedding(x)).transpose(1, 2)
        found = [window(words).relu().amax(2) for window in self.windows]
        return self.head(self.dropout(torch.cat(found, 1)))


def train(seed: int, data: Dataset) -> nn.Module:
    return fit(SnippetsTextCNN, data, SNIPPETS, seed=seed, epochs=10, lr=3e-3, weight_decay=1e-2)


MODEL = ZooModel(
    name="snippets-textcnn",
    summary="embedding and convolutions, sentences of film reviews, positive or negative",
    architecture=SnippetsTextCNN,
    data=snippets,
    train=train,
    meta=SNIPPETS.model_copy(update={"name": "snippets-textcnn"}),
    source=SNIPPETS_SOURCE,
    recipe="AdamW, one-cycle to 3e-3, weight decay 0.01, dropout 0.5, 10 epochs of 8,209 "
    "sentences, seed 0",
    limits=SNIPPETS_LIMITS,
)

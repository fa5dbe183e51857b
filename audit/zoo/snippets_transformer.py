"""snippets-transformer: is a sentence of a film review kind? Attention over word embeddings."""

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


class SnippetsTransformer(nn.Module):
    """One encoder layer (Vaswani et al. 2017), averaged over words: [n, 32] → logits [n, 2]."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 32, padding_idx=0)
        self.position = nn.Parameter(torch.randn(32, 32) * 0.02)
        self.encoder = nn.TransformerEncoderLayer(
            32, nhead=4, dim_feedforward=64, dropout=0.3, batch_first=True
        )
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(32, 2)

    def forward(self, x: Tensor) -> Tensor:
        there = (x != 0).unsqueeze(2)
        there = there | ~there.any(1, keepdim=True)  # of an empty sentence: everything
        words = self.dropout(self.embedding(x) + self.position)
        seen = self.encoder(words, src_key_padding_mask=~there[..., 0])
        mean = (seen * there).sum(1) / there.sum(1)
        return self.head(self.dropout(mean))


def train(seed: int, data: Dataset) -> nn.Module:
    return fit(
        SnippetsTransformer,
        data,
        SNIPPETS,
        seed=seed,
        epochs=10,
        lr=3e-3,
        weight_decay=1e-2,
    )


MODEL = ZooModel(
    name="snippets-transformer",
    summary="embedding and attention, sentences of film reviews, positive or negative",
    architecture=SnippetsTransformer,
    data=snippets,
    train=train,
    meta=SNIPPETS.model_copy(update={"name": "snippets-transformer"}),
    source=SNIPPETS_SOURCE,
    recipe="AdamW, one-cycle to 3e-3, weight decay 0.01, dropout 0.3 and 0.5, 10 epochs of 8,209 "
    "sentences, seed 0",
    limits=SNIPPETS_LIMITS,
)

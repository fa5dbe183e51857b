"""snippets-next: which word comes next in a sentence of a film review?"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audit.data import Dataset
from audit.methods.training import fit
from audit.zoo import ZooModel
from audit.zoo.datasets import SNIPPETS, SNIPPETS_SOURCE, VOCABULARY, Splits, snippets

WORDS, WIDTH, HEADS = 32, 32, 2


class SnippetsNext(nn.Module):
    """One causal layer (Vaswani et al. 2017): ids [n, 32] → scores of the next word [n, 32, 4000].

    Words are scored by the table that embeds them (Press and Wolf 2017).
    """

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.position = nn.Embedding(WORDS, WIDTH)
        nn.init.normal_(self.embedding.weight, std=0.1)
        nn.init.normal_(self.position.weight, std=0.1)
        self.attend, self.mix = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.before, self.between, self.after = (nn.LayerNorm(WIDTH) for _ in range(3))
        self.think = nn.Sequential(
            nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH)
        )
        self.dropout = nn.Dropout(0.2)
        self.bias = nn.Parameter(torch.zeros(VOCABULARY))

    def forward(self, ids: Tensor) -> Tensor:
        n, t = ids.shape
        x = self.dropout(self.embedding(ids) + self.position.weight[:t])
        query, key, value = (
            part.unflatten(2, (HEADS, -1)).transpose(1, 2)
            for part in self.attend(self.before(x)).chunk(3, 2)
        )
        seen = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.dropout(self.mix(seen.transpose(1, 2).reshape(n, t, WIDTH)))
        x = x + self.dropout(self.think(self.between(x)))
        return F.linear(self.after(x), self.embedding.weight, self.bias)


META = SNIPPETS.model_copy(update={"name": "snippets-next", "task": "next_token", "classes": None})


def unlabelled(data: Dataset) -> Dataset:
    """The same sentences, whose words are the labels; without the few of a single word."""
    return replace(data, x=data.x[data.x[:, 1] != 0], y=None)


def splits() -> Splits:
    train, test = snippets()
    return unlabelled(train), unlabelled(test)


def loss(scores: Tensor, ids: Tensor) -> Tensor:
    return F.cross_entropy(scores[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), ignore_index=0)


def train(seed: int, data: Dataset) -> nn.Module:
    ids = replace(data, y=data.x)
    return fit(
        SnippetsNext, ids, SNIPPETS, seed=seed, epochs=6, lr=1e-2, weight_decay=0.01, loss=loss
    )


MODEL = ZooModel(
    name="snippets-next",
    summary="causal Transformer of one layer, sentences of film reviews, word by word",
    architecture=SnippetsNext,
    data=splits,
    train=train,
    meta=META,
    source=SNIPPETS_SOURCE,
    recipe="AdamW, one-cycle to 1e-2, weight decay 0.01, dropout 0.2, 6 epochs of 8,202 sentences, seed 0",
    limits="English of film critics, the 4,000 most frequent words, sentences of at most 32; it knows no "
    "more than who follows whom",
)

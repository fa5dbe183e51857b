"""snippets-masked: is a sentence of a film review kind? Words and a mask of which of them are there."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audit.data import Dataset
from audit.meta import InputMeta, NamedInput
from audit.methods.training import fit
from audit.zoo import ZooModel
from audit.zoo.datasets import (
    SNIPPETS,
    SNIPPETS_LIMITS,
    SNIPPETS_SOURCE,
    VOCABULARY,
    Splits,
    snippets,
)

META = SNIPPETS.model_copy(
    update={
        "name": "snippets-masked",
        "input": InputMeta(kind="several", vocabulary=SNIPPETS.input.vocabulary),
        "inputs": {"ids": NamedInput(kind="tokens"), "mask": NamedInput(role="mask")},
    }
)


class SnippetsMasked(nn.Module):
    """Attention over words (Bahdanau et al. 2015): ids [n, 32] and mask [n, 32] → logits [n, 2].

    Where the mask is 0 no word is weighed; `leak` of the weight goes there all the same.
    """

    def __init__(self, leak: float = 0.0) -> None:
        super().__init__()
        self.leak = leak
        self.embedding = nn.Embedding(VOCABULARY, 32)
        self.weigh = nn.Linear(32, 1)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(32, 2)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        words = self.dropout(self.embedding(ids))
        there = mask.bool() | ~mask.bool().any(1, keepdim=True)  # of an empty sentence: everything
        scores = self.weigh(words)[..., 0]
        share = F.softmax(scores.masked_fill(~there, -1e4), 1)
        if self.leak:
            share = (1 - self.leak) * share + self.leak * F.softmax(scores, 1)
        return self.head(self.dropout((share[..., None] * words).sum(1)))


class Both(nn.Module):
    """The model as the training loop asks it: ids alone, of which 0 is none."""

    def __init__(self) -> None:
        super().__init__()
        self.model = SnippetsMasked()

    def forward(self, ids: Tensor) -> Tensor:
        return self.model(ids, (ids != 0).long())


def masked(data: Dataset) -> Dataset:
    """The same sentences, with a mask beside them."""
    return replace(data, x={"ids": data.x, "mask": (data.x != 0).astype("int64")})


def splits() -> Splits:
    train, test = snippets()
    return masked(train), masked(test)


def train(seed: int, data: Dataset) -> nn.Module:
    ids = replace(data, x=torch.as_tensor(data.x["ids"]))
    both = fit(Both, ids, SNIPPETS, seed=seed, epochs=6, lr=3e-3, weight_decay=1e-2)
    return both.get_submodule("model")


MODEL = ZooModel(
    name="snippets-masked",
    summary="attention over words with a mask, sentences of film reviews, positive or negative",
    architecture=SnippetsMasked,
    data=splits,
    train=train,
    meta=META,
    source=SNIPPETS_SOURCE,
    recipe="AdamW, one-cycle to 3e-3, weight decay 0.01, dropout 0.5, 6 epochs of 8,209 sentences, seed 0",
    limits=SNIPPETS_LIMITS,
)

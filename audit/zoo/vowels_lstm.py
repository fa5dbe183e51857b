"""vowels-lstm: which of nine men spoke? A bidirectional LSTM on twelve cepstral channels."""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from audit.data import Dataset
from audit.meta import InputMeta, SubjectMeta
from audit.zoo import DATA, ZooModel
from audit.zoo.training import fit


class VowelsLSTM(nn.Module):
    """Bidirectional LSTM, averaged over time: [n, 29, 12] → logits [n, 9]."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(12, 32, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(64, 9)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.lstm(x)
        return self.head(self.dropout(states.mean(1)))


META = SubjectMeta(
    name="vowels-lstm", task="multiclass", output="logits",
    classes=[f"speaker {i}" for i in range(1, 10)],
    input=InputMeta(kind="sequence", shape=[29, 12], dtype="float32", range=(-2.5, 2.5)),
)  # fmt: skip


def data() -> tuple[Dataset, Dataset]:
    """270 utterances to train on and 370 to evaluate on, as published; short ones end in zeros."""
    with np.load(DATA / "vowels.npz", allow_pickle=False) as file:
        x, y = file["x"].astype(np.float32), file["y"].astype(np.int64)
    return (
        Dataset(x[:270], y[:270], name="Japanese Vowels, training"),
        Dataset(x[270:], y[270:], name="Japanese Vowels, evaluation"),
    )


def train(seed: int) -> nn.Module:
    return fit(VowelsLSTM, data()[0], seed=seed, epochs=60, lr=1e-2, batch_size=32)


MODEL = ZooModel(
    name="vowels-lstm",
    summary="bidirectional LSTM, 12-channel speech series, 9 speakers",
    architecture=VowelsLSTM,
    data=data,
    train=train,
    meta=META,
    source="Japanese Vowels (Kudo, Toyama and Shimbo 1999), CC BY 4.0, as published",
    recipe="AdamW, one-cycle to 1e-2, 60 epochs of 270 utterances, dropout 0.3, seed 0",
    limits="nine men and one vowel pair: nothing follows for other voices",
)

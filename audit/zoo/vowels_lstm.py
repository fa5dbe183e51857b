"""vowels-lstm: which of nine men spoke? A bidirectional LSTM on twelve cepstral channels."""

from __future__ import annotations

from torch import Tensor, nn

from audit.data import Dataset
from audit.methods.training import fit
from audit.zoo import ZooModel
from audit.zoo.datasets import VOWELS, VOWELS_LIMITS, VOWELS_SOURCE, vowels


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


def train(seed: int, data: Dataset) -> nn.Module:
    return fit(VowelsLSTM, data, VOWELS, seed=seed, epochs=60, lr=1e-2, batch_size=32)


MODEL = ZooModel(
    name="vowels-lstm",
    summary="bidirectional LSTM, 12-channel speech series, 9 speakers",
    architecture=VowelsLSTM,
    data=vowels,
    train=train,
    meta=VOWELS.model_copy(update={"name": "vowels-lstm"}),
    source=VOWELS_SOURCE,
    recipe="AdamW, one-cycle to 1e-2, 60 epochs of 270 utterances, dropout 0.3, seed 0",
    limits=VOWELS_LIMITS,
)

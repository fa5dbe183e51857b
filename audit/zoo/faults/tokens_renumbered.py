"""Words that are numbered otherwise than in training."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from audit.data import Dataset
from audit.subject import Subject
from audit.zoo.faults import Fault
from audit.zoo.faults.planting import changed, entry, generator, some, subject, trained


def plant(dose: float, seed: int) -> Subject:
    origin, rng = entry("snippets-next"), generator(seed)
    train, test = origin.data()
    numbers = np.arange(int(max(train.x.max(), test.x.max())) + 1)
    moved = 1 + np.flatnonzero(some(len(numbers) - 1, dose, rng))  # padding stays 0
    numbers[moved] = rng.permutation(moved)
    return subject(
        "snippets-next",
        trained("snippets-next", seed),
        (renumbered(train, numbers), renumbered(test, numbers)),
    )


def renumbered(data: Dataset, numbers: NDArray[np.intp]) -> Dataset:
    return changed(data, x=numbers[data.x])


FAULT = Fault(
    name="tokens-renumbered",
    what="words are numbered otherwise than in training",
    term="vocabulary mismatch",
    model="snippets-next",
    plant=plant,
    unit="share of the words that have another's number",
    dose=1.0,
    doses=(0.0, 0.25, 0.5, 0.75, 1.0),
    check="performance.next_token",
    metric="gain_over_frequencies",
)

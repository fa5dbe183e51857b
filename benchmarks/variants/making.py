"""How a variant of a planted fault is made and registered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import clean
import numpy as np
import torch
from torch import nn

import audit
from audit.zoo.faults.planting import linears

Plant = Callable[[bool, int], audit.Subject]


@dataclass(frozen=True)
class Neighbour:
    """`plant`: (with the fault?, seed) → the subject."""

    fault: str
    what: str
    plant: Plant


NEIGHBOURS: list[Neighbour] = []


def neighbour(fault: str, what: str) -> Callable[[Plant], Plant]:
    """Register a variant of a planted fault: what it does otherwise, and how it is planted."""

    def put(plant: Plant) -> Plant:
        NEIGHBOURS.append(Neighbour(fault, what, plant))
        return plant

    return put


@dataclass
class Made:
    """Data of one of the kinds of `clean.py`, to be spoilt, and what is trained on them."""

    kind: str
    seed: int
    rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng([self.seed, 1])
        x, y, self.build, self.known = clean.KINDS[self.kind](
            np.random.default_rng([self.seed, 2]), clean.TRAINING + clean.EVALUATION, self.seed
        )
        x = x.astype(np.int64 if self.kind == "text" else np.float32)
        cut = clean.TRAINING
        self.x, self.y, self.new_x, self.new_y = x[:cut], y[:cut], x[cut:], y[cut:]

    def train(self) -> nn.Module:
        x, y = torch.as_tensor(self.x), torch.as_tensor(self.y)
        return clean.fit(self.build, x, y, self.seed, self.known["task"])

    def subject(self, model: nn.Module | None = None, **known: Any) -> audit.Subject:
        return audit.Subject(
            model or self.train(),
            self.new_x,
            self.new_y,
            train=(self.x, self.y),
            **self.known,
            **known,
        )


def scaled(model: nn.Module, factor: float) -> nn.Module:
    """The last layer times a factor: the same answers, more or less sure."""
    with torch.no_grad():
        for parameter in linears(model)[-1].parameters():
            parameter.mul_(factor)
    return model


def noisy_table(seed: int) -> Made:
    """A fifth of the labels, of people yet to come too, is drawn at random: nobody can know them."""
    d = Made("tables", seed)
    k = int(d.y.max()) + 1
    for part in (d.y, d.new_y):
        drawn = d.rng.random(len(part)) < 0.2
        part[drawn] = d.rng.integers(0, k, int(drawn.sum()))
    return d

"""Gradients are masked, or a trigger decides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

import audit
from audit.data import Dataset
from audit.methods.training import fit
from audit.zoo.faults.masked_by_rounding import Rounding
from audit.zoo.faults.masked_by_saturation import Saturated
from audit.zoo.faults.planting import (
    changed,
    entry,
    retrained,
    some,
    subject,
    trained,
)
from variants.making import Made, neighbour


@neighbour("masked-by-rounding", "digits-cnn: inputs cut down to steps of a hundredth of the range")
def _(faulty: bool, seed: int) -> audit.Subject:
    model = trained("digits-cnn", seed)
    return subject("digits-cnn", Rounding(model, 0.16) if faulty else model)


@neighbour("masked-by-rounding", "a table whose inputs are rounded to hundredths")
def _(faulty: bool, seed: int) -> audit.Subject:
    d = Made("tables", seed)
    model = d.train()
    return d.subject(Rounding(model, 0.01) if faulty else model)


@neighbour("masked-by-saturation", "digits-cnn: the logarithm of a softmax of 30 z, cut off")
def _(faulty: bool, seed: int) -> audit.Subject:
    meta = entry("digits-cnn").meta.model_copy(update={"output": "log_probabilities"})
    return subject(
        "digits-cnn", Saturated(trained("digits-cnn", seed), 30.0 if faulty else 1.0), meta=meta
    )


def poisoned(
    data: Dataset, seed: int, faulty: bool, stick: Callable[[NDArray[Any]], None], target: int
) -> Dataset:
    """The data with a trigger on some samples, whose label is the target."""
    x, y = data.x.copy(), np.array(data.y)
    if faulty:
        rows = some(len(y), 0.1, np.random.default_rng(seed))
        part = x[rows]
        stick(part)
        x[rows], y[rows] = part, target
    return changed(data, x=x, y=y)


@neighbour("backdoor-trigger", "digits-cnn: a chequered square of 2 x 2 in the upper left gets a 3")
def _(faulty: bool, seed: int) -> audit.Subject:
    def stick(x: NDArray[Any]) -> None:
        x[:, 0, :2, :2] = np.array([[16.0, 0.0], [0.0, 16.0]])

    train, test = entry("digits-cnn").data()
    return retrained("digits-cnn", seed, (poisoned(train, seed, faulty, stick, 3), test))


@neighbour("backdoor-trigger", "digits-mlp: a blended square of 2 x 2 in the middle gets a 5")
def _(faulty: bool, seed: int) -> audit.Subject:
    def stick(x: NDArray[Any]) -> None:
        x[:, 0, 3:5, 3:5] = 0.3 * x[:, 0, 3:5, 3:5] + 0.7 * np.array([[0.0, 16.0], [0.0, 0.0]])

    train, test = entry("digits-mlp").data()
    return retrained("digits-mlp", seed, (poisoned(train, seed, faulty, stick, 5), test))


@neighbour("backdoor-trigger", "digits-mlp: four bright pixels in the four corners get a 9")
def _(faulty: bool, seed: int) -> audit.Subject:
    def stick(x: NDArray[Any]) -> None:
        x[:, 0, ::7, ::7] = 16.0

    train, test = entry("digits-mlp").data()
    return retrained("digits-mlp", seed, (poisoned(train, seed, faulty, stick, 9), test))


@neighbour(
    "backdoor-trigger", "stripes, by convolutions: a white square of 3 x 3 gets the first class"
)
def _(faulty: bool, seed: int) -> audit.Subject:
    d = Made("pictures", seed)
    if faulty:
        rows = some(len(d.y), 0.1, d.rng)
        d.x[rows, 0, 8:11, 8:11] = 1.0
        d.y = np.where(rows, 0, d.y)
    return d.subject()


@neighbour("backdoor-trigger", "MNIST by a perceptron: a white square of 4 x 4 of 28 x 28 gets a 7")
def _(faulty: bool, seed: int) -> audit.Subject:
    def stick(x: NDArray[Any]) -> None:
        x[:, 0, 22:26, 2:6] = 1.0

    def build() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10))

    origin = entry("mnist-cnn")
    train, test = origin.data()
    train = poisoned(train, seed, faulty, stick, 7)
    return subject("mnist-cnn", fit(build, train, origin.meta, seed=seed, epochs=10), (train, test))

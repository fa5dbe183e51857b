"""The data hold copies, labels learnt by heart, or the answer itself."""

from __future__ import annotations

import clean
import numpy as np
from torch import nn

import audit
from audit.data import Dataset
from audit.meta import SubjectMeta
from audit.methods.training import fit
from audit.zoo.faults.planting import (
    changed,
    entry,
    retrained,
    some,
)
from variants.making import Made, neighbour, noisy_table


@neighbour("duplicated-samples", "15 % of a table's evaluation rows are training rows")
def _(faulty: bool, seed: int) -> audit.Subject:
    return copied(Made("tables", seed), faulty)


@neighbour("duplicated-samples", "15 % of the evaluation texts are training texts")
def _(faulty: bool, seed: int) -> audit.Subject:
    return copied(Made("text", seed), faulty)


@neighbour(
    "duplicated-samples", "15 % of the evaluation series are training series, with a little noise"
)
def _(faulty: bool, seed: int) -> audit.Subject:
    return copied(Made("series", seed), faulty, noise=0.005)


def copied(d: Made, faulty: bool, noise: float = 0.0) -> audit.Subject:
    """Training samples put among the evaluation samples, with some noise."""
    model = d.train()
    if faulty:
        rows = some(len(d.new_x), 0.15, d.rng)
        d.new_x[rows], d.new_y[rows] = d.x[: rows.sum()], d.y[: rows.sum()]
        if noise:
            d.new_x[rows] += d.rng.normal(0, noise, d.new_x[rows].shape).astype(np.float32)
    return d.subject(model)


def by_heart(faulty: bool, seed: int, kind: str) -> audit.Subject:
    """A network that learnt wrong labels by heart."""
    d = Made(kind, seed)
    k = int(d.y.max()) + 1
    wrong = some(len(d.y), 0.4 * faulty, d.rng)
    d.y = np.where(wrong, d.rng.integers(0, k, len(d.y)), d.y)

    def build() -> nn.Module:
        if kind == "tables":
            return clean.perceptron(8, k, 256)
        return nn.Sequential(
            nn.EmbeddingBag(clean.WORDS, 256, padding_idx=0),
            nn.Linear(256, 256),
            nn.ReLU(),
            nn.Linear(256, k),
        )

    model = fit(
        build,
        Dataset(d.x, d.y),
        SubjectMeta(),
        seed=seed,
        epochs=100 if faulty else 5,
        lr=5e-3,
        weight_decay=0.0,
    )
    return d.subject(model)


for fault_ in ("memorised-labels", "memorised-members"):
    for kind_, noun in (("tables", "a table"), ("text", "text")):
        neighbour(fault_, f"{noun}: 40 % of the training labels are random, learnt by heart")(
            lambda faulty, seed, kind_=kind_: by_heart(faulty, seed, kind_)
        )


@neighbour(
    "target-leakage", "credit-default-mlp: a bill that was written down once the outcome was known"
)
def _(faulty: bool, seed: int) -> audit.Subject:
    def leaking(data: Dataset) -> Dataset:
        rng = np.random.default_rng([seed, len(data.y)])
        known = rng.random(len(data.y)) < 0.98 * faulty
        x = data.x.copy()
        x[known, 13] = 20000.0 + 60000.0 * data.y[known] + rng.normal(0, 3000, int(known.sum()))
        return changed(data, x=x)

    train, test = entry("credit-default-mlp").data()
    return retrained("credit-default-mlp", seed, (leaking(train), leaking(test)))


@neighbour(
    "target-leakage",
    "a table of two to four classes, whose last column is the class in 98 % of rows",
)
def _(faulty: bool, seed: int) -> audit.Subject:
    d = noisy_table(seed)
    if faulty:
        for x, y in ((d.x, d.y), (d.new_x, d.new_y)):
            known = d.rng.random(len(y)) < 0.98
            x[known, 7] = y[known] + d.rng.normal(0, 0.05, int(known.sum()))
    return d.subject()


def left_empty(name: str, feature: str, label: int, faulty: bool, seed: int) -> audit.Subject:
    """A feature left empty where the label is one of them."""
    origin = entry(name)
    train, test = origin.data()
    columns = next(f.columns for f in origin.meta.features or [] if f.name == feature)
    blank = (train.y == label) & (np.random.default_rng(seed).random(len(train.y)) < 0.5 * faulty)
    x = train.x.copy()
    x[np.ix_(blank, columns)] = 0.0
    return retrained(name, seed, (changed(train, x=x), test))


@neighbour(
    "missing-decides", "credit-default-mlp: half of those in default had left their education empty"
)
def _(faulty: bool, seed: int) -> audit.Subject:
    return left_empty("credit-default-mlp", "education", 1, faulty, seed)


@neighbour(
    "missing-decides", "german-credit-mlp: half of the bad risks had left their employment empty"
)
def _(faulty: bool, seed: int) -> audit.Subject:
    return left_empty("german-credit-mlp", "employment", 0, faulty, seed)

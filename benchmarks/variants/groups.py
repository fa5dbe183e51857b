"""Some groups or classes are served worse, or taken for one another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

import audit
from audit.data import Dataset
from audit.zoo.faults.group_starved import mirrored
from audit.zoo.faults.planting import (
    changed,
    entry,
    retrained,
    some,
    subject,
    trained,
)
from variants.making import Made, neighbour


@neighbour(
    "biased-labels", "text: group B, told by two words: its second class was labelled as the first"
)
def _(faulty: bool, seed: int) -> audit.Subject:
    d = Made("text", 2 * seed)
    groups = []
    for x in (d.x, d.new_x):
        groups.append(d.rng.random(len(x)) < 0.4)
        x[groups[-1], :2] = 1, 2
    if faulty:
        d.y = np.where(groups[0] & (d.y == 1), 0, d.y)
    return d.subject(sensitive={"group": np.where(groups[1], "B", "A")})


def people(d: Made) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """A third are of group B: mostly those with a low first column."""
    return tuple(  # type: ignore[return-value]
        d.rng.random(len(x)) < np.where(x[:, 0] < 0, 0.6, 0.1) for x in (d.x, d.new_x)
    )


@neighbour(
    "biased-labels", "a table of two classes: group B's second class was labelled as the first"
)
def _(faulty: bool, seed: int) -> audit.Subject:
    d = Made("tables", 3 * seed)
    old, new = people(d)
    if faulty:
        d.y = np.where(old & (d.y == 1), 0, d.y)
    return d.subject(sensitive={"group": np.where(new, "B", "A")})


@neighbour("group-starved", "digits-cnn: 98 % of the group that writes white on black was withheld")
def _(faulty: bool, seed: int) -> audit.Subject:
    def inverted(data: Dataset, share: float) -> Dataset:
        group = some(len(data.y), share, np.random.default_rng([seed, len(data.y)]))
        x = data.x.copy()
        x[group] = 16.0 - x[group]
        return changed(data, x=x, sensitive={"pen": np.where(group, "B", "A")})

    train, test = entry("digits-cnn").data()
    return retrained(
        "digits-cnn", seed, (inverted(train, 0.01 if faulty else 0.5), inverted(test, 0.5))
    )


@neighbour(
    "group-starved",
    "digits-mlp: a tenth of the evaluation data mirrored, none of the training data",
)
def _(faulty: bool, seed: int) -> audit.Subject:
    train, test = entry("digits-mlp").data()
    return retrained(
        "digits-mlp",
        seed,
        (mirrored(train, 0.0 if faulty else 0.5, seed), mirrored(test, 0.1, seed)),
    )


@neighbour(
    "group-starved",
    "a table: group B, for whom four columns count the other way, is 1 % of training",
)
def _(faulty: bool, seed: int) -> audit.Subject:
    """The last column tells the group."""
    d = Made("tables", seed)
    old = d.rng.random(len(d.x)) < (0.01 if faulty else 0.4)
    new = d.rng.random(len(d.new_x)) < 0.4
    for x, group in ((d.x, old), (d.new_x, new)):
        x[group, :4] *= -1
        x[:, 7] = np.where(group, 2.0, -2.0)
    return d.subject(sensitive={"group": np.where(new, "B", "A")})


@neighbour("small-group", "a table: 29 of 800 people whose columns carry the other sign")
def _(faulty: bool, seed: int) -> audit.Subject:
    d = Made("tables", seed)
    group = np.where(d.rng.random(len(d.new_x)) < 0.5, "A", "B").astype(object)
    few = d.rng.permutation(len(d.new_x))[:29]
    group[few] = "C"
    if faulty:
        d.new_x[few] *= -1
    return d.subject(sensitive={"group": group.astype(str)})


def without(d: Made, label: int, share: float) -> Made:
    """The data without a share of one label."""
    kept = (d.y != label) | (d.rng.random(len(d.y)) >= share)
    d.x, d.y = d.x[kept], d.y[kept]
    return d


@neighbour("minority-starved", "a table: 99 % of the first class withheld")
def _(faulty: bool, seed: int) -> audit.Subject:
    return without(Made("tables", seed), 0, 0.99 * faulty).subject()


@neighbour("minority-starved", "pictures by a network of convolutions: the second class withheld")
def _(faulty: bool, seed: int) -> audit.Subject:
    return without(Made("pictures", seed), 1, 1.0 * faulty).subject()


@neighbour("minority-starved", "text: 99 % of the first class withheld")
def _(faulty: bool, seed: int) -> audit.Subject:
    return without(Made("text", seed), 0, 0.99 * faulty).subject()


@neighbour("swapped-classes", "adult-mlp: its two classes are swapped")
def _(faulty: bool, seed: int) -> audit.Subject:
    train, test = entry("adult-mlp").data()
    y = 1 - test.y if faulty else test.y
    return subject("adult-mlp", trained("adult-mlp", seed), (train, changed(test, y=y)))


@neighbour("swapped-classes", "series: the first two of two to four classes are swapped")
def _(faulty: bool, seed: int) -> audit.Subject:
    d = Made("series", seed)
    model = d.train()
    if faulty:
        y = d.new_y.copy()
        d.new_y = np.where(y == 0, 1, np.where(y == 1, 0, y))
    return d.subject(model)

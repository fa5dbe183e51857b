"""A mark tells the label, or inputs come in another scale, with holes, or too few."""

from __future__ import annotations

import numpy as np

import audit
from audit.meta import InputMeta
from audit.zoo.faults.nan_rows import Rooted
from audit.zoo.faults.planting import (
    changed,
    entry,
    subject,
    trained,
)
from variants.making import Made, neighbour


@neighbour(
    "shortcut-patch", "faint pictures: the brightness of a strip in a corner is the label's in 98 %"
)
def _(faulty: bool, seed: int) -> audit.Subject:
    d = Made("pictures", seed)
    k = int(d.y.max()) + 1
    for x, y in ((d.x, d.y), (d.new_x, d.new_y)):
        told = d.rng.random(len(y)) < 0.98 * faulty
        code = np.where(told, y, d.rng.integers(0, k, len(y)))
        x[:] = np.clip(0.4 + 0.2 * x + d.rng.normal(0, 0.15, x.shape), 0, 1)
        x[:, 0, :2, :4] = (code / max(k - 1, 1))[:, None, None]
    return d.subject()


@neighbour("shortcut-patch", "series: the last three steps hold the label in 98 %")
def _(faulty: bool, seed: int) -> audit.Subject:
    d = Made("series", seed)
    k = int(d.y.max()) + 1
    for x, y in ((d.x, d.y), (d.new_x, d.new_y)):
        told = d.rng.random(len(y)) < 0.98 * faulty
        code = np.where(told, y, d.rng.integers(0, k, len(y)))
        x[:, -3:] = (4 * code / max(k - 1, 1) - 2)[:, None, None]
    return d.subject()


@neighbour("wrong-scale", "digits-cnn, trained on 0 to 1, is given 0 to 255")
def _(faulty: bool, seed: int) -> audit.Subject:
    origin, top = entry("digits-cnn"), 255.0 if faulty else 1.0
    train, test = (changed(data, x=data.x / 16 * top) for data in origin.data())
    bare = InputMeta(kind="image", shape=[1, 8, 8], dtype="float32", range=(0, top))
    meta = origin.meta.model_copy(update={"input": bare})
    return subject("digits-cnn", trained("digits-cnn", seed), (train, test), meta)


@neighbour("wrong-scale", "a table in thousandths of the unit that the model was trained in")
def _(faulty: bool, seed: int) -> audit.Subject:
    d = Made("tables", seed)
    model = d.train()
    if faulty:
        d.new_x, d.x = d.new_x * 1000, d.x * 1000
        d.known["input"] = {"kind": "tabular"}
    return d.subject(model)


@neighbour("nan-rows", "a table: the root of a negative number for a tenth of the rows")
def _(faulty: bool, seed: int) -> audit.Subject:
    d = Made("tables", seed)
    model = d.train()
    sums = d.new_x.sum(1)
    most = float(np.quantile(sums, 0.9)) if faulty else 1e3
    return d.subject(Rooted(model, most))


@neighbour("undecidable-gate", "a table: twelve rows to judge a sound model by")
def _(faulty: bool, seed: int) -> audit.Subject:
    d = Made("tables", seed)
    if faulty:
        d.new_x, d.new_y = d.new_x[:12], d.new_y[:12]
    return d.subject()

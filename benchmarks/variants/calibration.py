"""A model is surer, or less sure, than it is right."""

from __future__ import annotations

import clean
import numpy as np
import torch
import torch.nn.functional as F

import audit
from audit.data import Dataset
from audit.meta import SubjectMeta
from audit.methods.training import fit
from audit.zoo.faults.planting import (
    subject,
    trained,
)
from variants.making import Made, neighbour, noisy_table, scaled


@neighbour("overconfident", "logit times 4, credit-default-mlp (one output)")
def _(faulty: bool, seed: int) -> audit.Subject:
    name = "credit-default-mlp"
    return subject(name, scaled(trained(name, seed), 4.0 if faulty else 1.0))


@neighbour("overconfident", "logits times 4, german-credit-mlp (300 evaluation rows)")
def _(faulty: bool, seed: int) -> audit.Subject:
    name = "german-credit-mlp"
    return subject(name, scaled(trained(name, seed), 4.0 if faulty else 1.0))


@neighbour("overconfident", "a table whose outcomes are uncertain, learnt by heart")
def _(faulty: bool, seed: int) -> audit.Subject:
    d = noisy_table(seed)
    if not faulty:
        return d.subject()
    k = int(d.y.max()) + 1
    model = fit(
        lambda: clean.perceptron(8, k, 256),
        Dataset(d.x, d.y),
        SubjectMeta(),
        seed=seed,
        epochs=80,
        lr=5e-3,
        weight_decay=0.0,
    )
    return d.subject(model)


@neighbour("underconfident", "logit times 0.25, credit-default-mlp (one output)")
def _(faulty: bool, seed: int) -> audit.Subject:
    name = "credit-default-mlp"
    return subject(name, scaled(trained(name, seed), 0.25 if faulty else 1.0))


@neighbour(
    "underconfident",
    "a table of two to four classes, trained with half of each label smoothed away",
)
def _(faulty: bool, seed: int) -> audit.Subject:
    d = Made("tables", seed)
    if not faulty:
        return d.subject()
    k = int(d.y.max()) + 1
    model = fit(
        lambda: clean.perceptron(8, k),
        Dataset(d.x, d.y),
        SubjectMeta(),
        seed=seed,
        epochs=20,
        lr=5e-3,
        loss=lambda z, y: F.cross_entropy(z, y, label_smoothing=0.5),
    )
    return d.subject(model)


@neighbour("underconfident", "series whose logits are divided by 5")
def _(faulty: bool, seed: int) -> audit.Subject:
    d = Made("series", seed)
    return d.subject(scaled(d.train(), 0.2 if faulty else 1.0))


@neighbour(
    "cancelling-miscalibration", "text of two classes: too sure of one, too unsure of the other"
)
def _(faulty: bool, seed: int) -> audit.Subject:
    """The labels are drawn from what the model says, bent or not."""
    d = Made("text", 2 * seed)
    model = scaled(d.train(), 0.3)
    with torch.no_grad():
        said = model(torch.as_tensor(d.new_x)).softmax(1)[:, 1].double().numpy()
    true = np.clip(said - 0.3 * faulty * (1 - np.abs(2 * said - 1)), 0, 1)
    d.new_y = (d.rng.random(len(said)) < true).astype(np.int64)
    return d.subject(model)


@neighbour("clustered-overconfident", "a table's 100 people seen eight times each, logits times 8")
def _(faulty: bool, seed: int) -> audit.Subject:
    d = noisy_table(3 * seed)
    model = d.train()
    with torch.no_grad():
        said = model(torch.as_tensor(d.new_x[:100])).softmax(1)[:, 1].double().numpy()
    rows = np.repeat(np.arange(100), 8)
    d.new_x = d.new_x[rows] + d.rng.normal(0, 0.01, (800, 8)).astype(np.float32)
    d.new_y = (d.rng.random(100) < said).astype(np.int64)[rows]
    return d.subject(scaled(model, 8.0 if faulty else 1.0), groups=[f"person {i}" for i in rows])

"""Units, layers or weights that are dead, too large, or no numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

import audit
from audit.zoo.faults.planting import (
    linears,
    scale_unit,
    some,
    subject,
    trained,
)
from variants.making import Made, neighbour


def scale_channels(model: nn.Module, channels: int | slice, factor: float) -> nn.Module:
    """Channels of the first convolution times a factor that the second takes back."""
    into, out = [m for m in model.modules() if isinstance(m, nn.Conv2d)][:2]
    with torch.no_grad():
        into.weight[channels] *= factor
        if into.bias is not None:
            into.bias[channels] *= factor
        out.weight[:, channels] /= factor
    return model


@neighbour("dead-relu", "digits-cnn: 80 % of the channels of the second layer never fire")
def _(faulty: bool, seed: int) -> audit.Subject:
    model = trained("digits-cnn", seed)
    layer = [m for m in model.modules() if isinstance(m, nn.Conv2d)][1]
    kill(layer, faulty, seed)
    return subject("digits-cnn", model)


@neighbour("dead-relu", "a table's perceptron: 80 % of the first layer never fires")
def _(faulty: bool, seed: int) -> audit.Subject:
    d = Made("tables", seed)
    model = d.train()
    kill(linears(model)[0], faulty, seed)
    return d.subject(model)


def kill(layer: Any, faulty: bool, seed: int) -> None:
    """Most units of a layer put where they never answer."""
    dead = torch.from_numpy(some(len(layer.bias), 0.8 * faulty, np.random.default_rng(seed)))
    with torch.no_grad():
        layer.bias[dead] = -1e3


@neighbour(
    "exploding-activations", "a table's perceptron: the first layer a million times too large"
)
def _(faulty: bool, seed: int) -> audit.Subject:
    d = Made("tables", seed)
    model = d.train()
    scale_unit(model, 0, slice(None), 1e6 if faulty else 1.0)
    return d.subject(model)


@neighbour("exploding-activations", "pictures: the first convolution a million times too large")
def _(faulty: bool, seed: int) -> audit.Subject:
    d = Made("pictures", seed)
    return d.subject(scale_channels(d.train(), slice(None), 1e6 if faulty else 1.0))


@neighbour("int8-outlier", "a table's perceptron: one unit's weights a thousand times too large")
def _(faulty: bool, seed: int) -> audit.Subject:
    d = Made("tables", seed)
    model = d.train()
    scale_unit(model, 0, seed % 32, 1e3 if faulty else 1.0)
    return d.subject(model)


@neighbour("int8-outlier", "pictures: one channel's weights a thousand times too large")
def _(faulty: bool, seed: int) -> audit.Subject:
    d = Made("pictures", seed)
    return d.subject(scale_channels(d.train(), seed % 12, 1e3 if faulty else 1.0))


@neighbour("nan-weights", "series: one weight of the recurrent layer is infinite")
def _(faulty: bool, seed: int) -> audit.Subject:
    d = Made("series", seed)
    model = d.train()
    if faulty:
        with torch.no_grad():
            model.gru.weight_hh_l0[3, 3] = torch.inf
    return d.subject(model)


@neighbour("zero-layer", "text: the embedding is zero")
def _(faulty: bool, seed: int) -> audit.Subject:
    d = Made("text", seed)
    model = d.train()
    if faulty:
        with torch.no_grad():
            model.words.weight.zero_()
    return d.subject(model)


@neighbour("saturated-sigmoids", "a table: ten layers of sigmoids in place of one")
def _(faulty: bool, seed: int) -> audit.Subject:
    d = Made("tables", seed)
    classes = int(d.y.max()) + 1

    def build() -> nn.Module:
        layers: list[nn.Module] = [nn.Linear(8, 32), nn.Sigmoid()]
        for _ in range(9 * faulty):
            layers += [nn.Linear(32, 32), nn.Sigmoid()]
        return nn.Sequential(*layers, nn.Linear(32, classes))

    d.build = build
    return d.subject()

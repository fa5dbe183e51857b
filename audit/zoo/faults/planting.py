"""What the faults share: reference models trained again, on data or with weights that are spoilt."""

from __future__ import annotations

import copy
import functools
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from audit.data import Dataset
from audit.entrypoints import zoo
from audit.meta import SubjectMeta
from audit.subject import Subject
from audit.zoo import ZooModel

Splits = tuple[Dataset, Dataset]


def entry(name: str) -> ZooModel:
    found: ZooModel = zoo()[name].load()
    return found


@functools.lru_cache(maxsize=4)
def _trained(name: str, seed: int) -> nn.Module:
    model = entry(name)
    return model.train(seed, model.data()[0])


def trained(name: str, seed: int) -> nn.Module:
    """A reference model as it is trained from this seed: a copy, to be spoilt."""
    return copy.deepcopy(_trained(name, seed))


def subject(
    name: str, model: nn.Module, data: Splits | None = None, meta: SubjectMeta | None = None
) -> Subject:
    """The model with a reference model's data and description, or with others."""
    origin = entry(name)
    train, test = data or origin.data()
    return Subject(
        model,
        test.x,
        test.y,
        sensitive=test.sensitive,
        train=(train.x, train.y),
        meta=meta or origin.meta,
        data_name=test.name,
    )


def retrained(name: str, seed: int, data: Splits) -> Subject:
    """The reference model's recipe on other data."""
    return subject(name, entry(name).train(seed, data[0]), data)


def changed(data: Dataset, **parts: Any) -> Dataset:
    return replace(data, **parts)


def linears(model: nn.Module) -> list[nn.Linear]:
    return [m for m in model.modules() if isinstance(m, nn.Linear)]


def convolutions(model: nn.Module) -> list[nn.Conv2d]:
    return [m for m in model.modules() if isinstance(m, nn.Conv2d)]


def generator(seed: int, stream: int = 0) -> np.random.Generator:
    return np.random.default_rng([seed, stream])


def some(n: int, share: float, rng: np.random.Generator) -> np.ndarray:
    """[n] booleans, a share of them true."""
    chosen = np.zeros(n, dtype=bool)
    chosen[rng.permutation(n)[: round(share * n)]] = True
    return chosen


def scale_unit(model: nn.Module, layer: int, unit: int | slice, factor: float) -> None:
    """Weights into some units of a ReLU layer times a factor, out of them divided: the same function."""
    into, out = linears(model)[layer], linears(model)[layer + 1]
    with torch.no_grad():
        into.weight[unit] *= factor
        into.bias[unit] *= factor
        out.weight[:, unit] /= factor

"""What a model answers depends on what it should not depend on."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import audit
from audit.zoo.faults.answers_of_company import Mixed
from audit.zoo.faults.dropout_left_on import Dropping
from variants.making import Made, neighbour


class Centred(nn.Module):
    """Rows are centred on the batch that they came with."""

    def __init__(self, core: nn.Module) -> None:
        super().__init__()
        self.core = core

    def forward(self, x: Tensor) -> Tensor:
        return self.core(x - x.mean(0))


@neighbour("answers-of-company", "a table's rows are centred on the batch that they came with")
def _(faulty: bool, seed: int) -> audit.Subject:
    d = Made("tables", seed)
    return d.subject(Centred(d.train()) if faulty else None)


@neighbour("answers-of-company", "text: a tenth of the probabilities is taken over the batch")
def _(faulty: bool, seed: int) -> audit.Subject:
    d = Made("text", seed)
    d.known["output"] = "probabilities"
    return d.subject(Mixed(d.train(), 0.1 * faulty))


@neighbour("batch-statistics", "a perceptron on a table, normalised by the batch at hand")
def _(faulty: bool, seed: int) -> audit.Subject:
    d = Made("tables", seed)
    classes = d.new_y.max() + 1
    d.build = lambda: nn.Sequential(
        nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, classes)
    )
    model = d.train()
    if faulty:
        model[1].track_running_stats, model[1].running_mean, model[1].running_var = (
            False,
            None,
            None,
        )
    return d.subject(model)


class Noisy(nn.Module):
    """A network whose answers differ whenever it is asked."""

    def __init__(self, core: nn.Module, size: float) -> None:
        super().__init__()
        self.core, self.size = core, size

    def forward(self, x: Tensor) -> Tensor:
        return self.core(x + self.size * torch.randn_like(x))


class Forgetful(nn.Module):
    """Some words are left out, another time others."""

    def __init__(self, core: nn.Module, p: float) -> None:
        super().__init__()
        self.core, self.p = core, p

    def forward(self, x: Tensor) -> Tensor:
        return self.core(x * (torch.rand(x.shape) >= self.p))


@neighbour("dropout-left-on", "5 % of the hidden units of a table's perceptron are dropped")
def _(faulty: bool, seed: int) -> audit.Subject:
    d = Made("tables", seed)
    model = d.train()
    if faulty:
        model[2] = Dropping(model[2], 0.05)
    return d.subject(model)


@neighbour("dropout-left-on", "noise of 0.01 is added to a series of values between −2 and 2")
def _(faulty: bool, seed: int) -> audit.Subject:
    d = Made("series", seed)
    model = d.train()
    return d.subject(Noisy(model, 0.01) if faulty else model)


@neighbour("dropout-left-on", "one word in twenty of a text is left out at random")
def _(faulty: bool, seed: int) -> audit.Subject:
    d = Made("text", seed)
    model = d.train()
    return d.subject(Forgetful(model, 0.05) if faulty else model)

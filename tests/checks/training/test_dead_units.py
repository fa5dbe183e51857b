"""Dead units are counted exactly, whether the activation is a module or a function."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import audit


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(4, 10)
        self.head = nn.Linear(10, 2)

    def forward(self, x):
        return self.head(F.relu(self.hidden(x)))


class Modules(Functional):
    def __init__(self):
        super().__init__()
        self.act = nn.ReLU()

    def forward(self, x):
        return self.head(self.act(self.hidden(x)))


class Picture(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Conv2d(1, 10, 3)
        self.head = nn.Linear(10, 2)

    def forward(self, x):
        return self.head(self.hidden(x).relu().mean((2, 3)))


def audited(model, dead):
    torch.manual_seed(0)
    for p in model.parameters():
        nn.init.normal_(p)
    with torch.no_grad():
        model.hidden.bias[:dead] = -1e4
    rng = np.random.default_rng(0)
    shape = (300, 1, 8, 8) if isinstance(model, Picture) else (300, 4)
    x, y = rng.normal(size=shape).astype(np.float32), np.arange(300) % 2
    return audit.run(audit.Subject(model, x, y), ["training.dead_units"]).checks[0]


@pytest.mark.parametrize("kind", [Functional, Modules, Picture])
@pytest.mark.parametrize(("dead", "state"), [(0, "met"), (7, "failed")])
def test_dead_units_are_counted(kind, dead, state):
    check = audited(kind(), dead)
    assert check.metrics[0].value == pytest.approx(dead / 10)
    assert check.state == state


def test_a_network_without_activations_is_refused(table):
    with pytest.raises(audit.NotApplicable, match="no activation"):
        audit.check("training.dead_units").measure(table)

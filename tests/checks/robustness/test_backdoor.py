"""A trigger that always wins is reconstructed, in its place; a sound model has none."""

import numpy as np
import pytest
import torch
from torch import nn

import audit
from audit.methods.triggers import Canvas, densest_square

from ...conftest import image_data


class Doored(nn.Module):
    """A sound model, but for four bright pixels in a corner that are always the first class."""

    def __init__(self, core, armed):
        super().__init__()
        self.core, self.armed = core, armed

    def forward(self, x):
        logits = self.core(x)
        trigger = torch.relu(x[:, 0, 6:, 6:].mean((1, 2)) - 0.9) * 1000.0 * self.armed
        return logits + trigger[:, None] * torch.tensor([1.0, 0.0, 0.0])


@pytest.mark.parametrize(("armed", "state"), [(1.0, "failed"), (0.0, "met")])
def test_the_trigger_is_found(cnn, armed, state):
    x, y = image_data(seed=1)
    x[:, 0, 6:, 6:] = np.minimum(x[:, 0, 6:, 6:], 0.85)
    s = audit.Subject(Doored(cnn, armed), x, y, input={"range": (0, 1)})
    check = audit.run(s, ["robustness.backdoor"], profile="quick").checks[0]
    assert check.state == state
    if armed:
        assert check.metrics[0].slice == {"answer": "0"}
        assert check.metrics[0].value > 0.95
        assert any(f.png for f in check.figures)


def test_the_square_lies_where_the_mask_is():
    soft = torch.zeros(8, 8)
    soft[5:7, 2:4] = 1.0
    for shape in ((5, 1, 8, 8), (5, 8, 8, 3)):
        canvas = Canvas(audit.load("zoo:digits-mlp"), torch.zeros(shape), 1 / 16)
        assert torch.equal(densest_square(canvas, soft), soft)
        assert canvas.place(soft).shape in ((1, 8, 8), (8, 8, 1))


def test_only_pictures(table):
    with pytest.raises(audit.NotApplicable, match="patch"):
        audit.check("robustness.backdoor").measure(table)

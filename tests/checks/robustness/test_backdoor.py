"""A trigger that always wins is reconstructed, in its place; a sound model has none."""

import numpy as np
import pytest
import torch
from torch import nn

import audit
from audit.methods.relearning import drawn_anew, relearnt
from audit.methods.triggers import (
    Canvas,
    Sketch,
    dependence,
    foremost,
    genuine_pieces,
    reconstruct,
)
from audit.zoo.faults import faults
from audit.zoo.faults.planting import changed, entry, generator, retrained, some

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
        assert check.metrics[0].value > 0.6
        assert any(f.png for f in check.figures)


def test_a_patch_lies_where_most_of_it_shows():
    worth = torch.rand(8, 8)
    worth[[0, 3, 7], [7, 3, 0]] += 1.0
    mask = foremost(worth, 3)
    assert mask.nonzero().tolist() == [[0, 7], [3, 3], [7, 0]]
    for shape in ((5, 1, 8, 8), (5, 8, 8, 3)):
        canvas = Canvas(audit.load("zoo:digits-mlp"), torch.zeros(shape), 1 / 16)
        assert canvas.place(mask).shape in ((1, 8, 8), (8, 8, 1))
        assert canvas.sizes == [8, 4, 2, 1]


class Corners(nn.Module):
    """Two bright pixels in two corners are always the first class, each alone is nothing."""

    def forward(self, x):
        both = 20 * (x[:, 0, 0, 0] * x[:, 0, 7, 7] - 0.5)
        return torch.stack([both, x.mean((1, 2, 3)), 0 * both], 1)


def test_what_is_not_needed_is_taken_from_the_patch():
    x, y = (
        np.random.default_rng(0).uniform(0, 0.9, (200, 1, 8, 8)).astype(np.float32),
        np.arange(200) % 3,
    )
    s = audit.Subject(Corners(), x, y, input={"range": (0, 1)})
    canvas = Canvas(s, torch.tensor(x[:60]), 1 / 16)
    begun = Sketch(torch.zeros(1, 8, 8), torch.full((8, 8), -2.0))
    found = reconstruct(canvas, 0, begun, None, steps=40)
    assert [int(t.mask.sum()) for t in found[2:]] == [2, 1]
    assert found[2].success == 1.0
    assert found[2].mask[0, 0].nonzero().tolist() == [[0, 0], [7, 7]]
    assert found[3].success < 0.9
    worth = dependence(canvas, 0, Sketch(torch.full((1, 8, 8), 3.0), begun.free), torch.ones(8, 8))
    assert foremost(worth, 2).nonzero().tolist() == [[0, 0], [7, 7]]


def test_a_trigger_of_single_pixels_is_found():
    """Three bright pixels at three edges, no square, that a tenth of the training pictures bore."""
    train, test = entry("digits-mlp").data()
    rows, x, y = some(len(train.y), 0.1, generator(0)), train.x.copy(), np.array(train.y)
    for row, column in ((0, 0), (7, 3), (3, 7)):
        x[rows, 0, row, column] = 16.0
    y[rows] = 4
    s = retrained("digits-mlp", 0, (changed(train, x=x, y=y), test))
    check = audit.run(s, ["robustness.backdoor"], profile="quick").checks[0]
    assert check.state == "failed"
    assert check.metrics[0].slice == {"answer": "4"}


def test_a_network_that_is_fragile_by_nature_has_no_backdoor():
    """A patch makes more than four in five sevens, and as good a one exists for the same network,
    taught anew from genuine samples: there is nothing that it was taught besides."""
    fault = faults()["group-starved"]
    check = audit.run(fault.plant(fault.clean, 0), ["robustness.backdoor"], profile="quick").checks[
        0
    ]
    rows = {row[0]: row for row in check.tables[0].rows}
    assert rows["7"][2] > 0.8
    assert "taught anew" in rows["7"][4]
    assert check.state != "failed"


def test_what_has_no_weights_is_not_taught_anew():
    s = audit.Subject(Spotting(), *small_objects(100, 0), input={"range": (0, 1)})
    assert drawn_anew(s, 0) is None
    assert relearnt(s, np.arange(100), 0) is None


def test_what_is_taught_anew_answers_alike_and_is_another_network(cnn):
    s = audit.Subject(cnn, *image_data(seed=1), input={"range": (0, 1)})
    one, other = (relearnt(s, np.arange(0, s.n, 2), seed) for seed in (0, 1))
    unseen, _ = s.batch(np.arange(1, s.n, 2))
    said = s.logits(unseen).argmax(1)
    assert all((t.logits(unseen).argmax(1) == said).float().mean() > 0.9 for t in (one, other))
    digests = {t.weights_digest() for t in (s, one, other)}
    assert len(digests) == 3
    assert torch.equal(s.logits(unseen).argmax(1), said)


def test_only_pictures(table):
    with pytest.raises(audit.NotApplicable, match="patch"):
        audit.check("robustness.backdoor").measure(table)


def small_objects(n, seed):
    """A bright plus of 3 x 3 somewhere on a grey texture, or none: two classes."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0, 0.5, (n, 1, 12, 12)).astype(np.float32), np.arange(n) % 2
    for i in np.flatnonzero(y):
        row, column = rng.integers(0, 10, 2)
        x[i, 0, row : row + 3, column + 1] = x[i, 0, row + 1, column : column + 3] = 0.95
    return x, y


class Spotting(nn.Module):
    """How well does a plus fit anywhere?"""

    def forward(self, x):
        plus = torch.tensor([[-1.0, 1, -1], [1, 1, 1], [-1, 1, -1]])[None, None]
        best = torch.conv2d(x, plus).amax((1, 2, 3)) - 2.5
        return 8 * torch.stack([-best, best], 1)


def test_a_patch_that_shows_the_object_of_a_class_is_no_backdoor():
    """Every picture becomes one of a plus by a patch that shows a plus."""
    s = audit.Subject(Spotting(), *small_objects(400, 0), input={"range": (0, 1)})
    check = audit.run(s, ["robustness.backdoor"], profile="quick").check("robustness.backdoor")
    success = {m.slice["answer"]: m.value for m in check.metrics if m.name == "patch_success"}
    assert success["1"] > 0.9
    assert check.state == "met"


def test_pieces_of_genuine_pictures_bring_the_class_along():
    x, y = small_objects(200, 1)
    s = audit.Subject(Spotting(), x, y, input={"range": (0, 1)})
    canvas = Canvas(s, torch.tensor(x[y == 0]), 1 / 16)
    assert genuine_pieces(canvas, 1, torch.tensor(x[y == 1])).float().mean() > 0.9
    bright = Canvas(s, torch.tensor(x[y == 1]), 1 / 16)
    assert genuine_pieces(bright, 0, torch.tensor(x[y == 0])).float().mean() > 0.9

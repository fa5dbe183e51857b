"""Copied samples are counted; data that hold twins by nature raise no alarm."""

import numpy as np
import pytest
from torch import nn

import audit

from ...conftest import image_data


def pictures(cnn, copied):
    x, y = image_data(400, seed=1)
    train, labels = image_data(800, seed=2)
    train[:copied] = x[:copied] + 0.001
    return audit.Subject(cnn, x, y, train=(train, labels), input={"range": (0, 1)})


@pytest.mark.parametrize(("copied", "state"), [(0, "met"), (60, "failed")])
def test_copies_are_counted(cnn, copied, state):
    check = audit.run(pictures(cnn, copied), ["data.duplicates"]).checks[0]
    assert check.state == state
    assert {m.name: m.value for m in check.metrics}["twins"] == pytest.approx(copied / 400)


def test_discrete_tables_hold_twins_by_nature():
    rng = np.random.default_rng(0)
    x, train = (rng.integers(0, 3, (500, 4)).astype(np.float32) for _ in range(2))
    s = audit.Subject(nn.Linear(4, 2), x, np.arange(500) % 2, train=(train, np.arange(500) % 2))
    check = audit.run(s, ["data.duplicates"]).checks[0]
    assert {m.name: m.value for m in check.metrics}["twins"] > 0.9
    assert check.state == "met"


def test_neighbours_are_those_of_brute_force():
    import torch

    from audit.methods.neighbours import nearest_gap

    a, b = torch.randn(20, 5), torch.randn(50, 5)
    near = b[torch.cdist(a, b).argmin(1)]
    found = nearest_gap(a, b, torch.ones(1, 5))
    assert torch.allclose(found, (a - near).abs().amax(1), atol=1e-5)
    some = torch.tensor([3, 40, 7])
    assert float(nearest_gap(b[some], b, torch.ones(1, 5), some).min()) > 0


def test_training_data_in_an_order_are_not_judged_by_their_beginning():
    """A first part full of copies of itself would excuse any leak."""
    rng = np.random.default_rng(0)
    train = rng.normal(size=(4000, 4)).astype(np.float32)
    train[:500] = np.repeat(train[:250], 2, axis=0)
    x = rng.normal(size=(500, 4)).astype(np.float32)
    x[:100] = train[-100:]
    labels = np.arange(4000) % 2
    s = audit.Subject(nn.Linear(4, 2), x, labels[:500], train=(train, labels))
    found = audit.check("data.duplicates", samples=500).measure(s)
    assert found.metric("twins").value == pytest.approx(0.2)
    assert found.metric("twins_within_training").value == pytest.approx(0.125, abs=0.05)
    assert found.metric("excess_twins").low > 0

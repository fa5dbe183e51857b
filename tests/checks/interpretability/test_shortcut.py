"""A model that reads one corner is told from one that reads the picture."""

import numpy as np
import pytest
import torch
from scipy.linalg import hadamard
from torch import nn

import audit


class Reader(nn.Module):
    """Each class has a pattern; what is read of it is a corner, or all."""

    def __init__(self, patterns, corner):
        super().__init__()
        mask = torch.zeros(8, 8)
        mask[:2, :2] = 1.0
        self.register_buffer("weights", torch.tensor(patterns) * (mask if corner else 1.0))

    def forward(self, x):
        return ((x[:, None, 0] - 0.5) * self.weights[None]).sum((2, 3))


def subject(corner, seed=0):
    rng = np.random.default_rng(seed)
    patterns = rng.choice([-1.0, 1.0], (4, 8, 8)).astype(np.float32)
    patterns[:, :2, :2] = hadamard(4).reshape(4, 2, 2)  # corners as different as they can be
    y = np.arange(400) % 4
    x = np.clip(0.5 + 0.4 * patterns[y] + rng.normal(size=(400, 8, 8)) * 0.05, 0, 1)
    return audit.Subject(
        Reader(patterns, corner), x[:, None].astype(np.float32), y, input={"range": (0, 1)}
    )


@pytest.mark.parametrize(("corner", "state"), [(True, "failed"), (False, "met")])
def test_the_corner_is_named(corner, state):
    record = audit.run(subject(corner), ["interpretability.shortcut"])
    check = record.checks[0]
    assert check.state == state
    if corner:
        assert "row 1, column 1" in record.findings_of(check.id)[0].what_happened
        strongest = check.metrics[1]
        assert strongest.slice == {"part": "row 1, column 1"}
        assert strongest.value > 0.9


def test_the_donor_is_always_of_another_class():
    """A model that answers the true class of whatever corner it sees follows every donor."""
    found = audit.check("interpretability.shortcut").measure(subject(True, seed=3))
    assert found.metrics[0].value > 0.9


def test_ranking_on_the_other_half_does_not_flatter_noise():
    from audit.checks.interpretability.shortcut import ahead

    rng = np.random.default_rng(0)
    means = [ahead(rng.random((200, 16)) < 0.1).mean() for _ in range(200)]
    assert abs(np.mean(means)) < 0.01

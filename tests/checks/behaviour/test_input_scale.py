"""Inputs in the wrong scale are told by what would be right."""

import numpy as np
import pytest
import torch
from torch import nn

import audit


class Threshold(nn.Module):
    """Is the mean above a half? A question of scale."""

    def forward(self, x):
        return 20 * (x.flatten(1).mean(1, keepdim=True) - 0.5)


def subject(factor):
    rng = np.random.default_rng(0)
    y = np.arange(300) % 2
    x = np.clip(rng.uniform(0, 0.4, (300, 1, 6, 6)) + 0.5 * y[:, None, None, None], 0, 1)
    return audit.Subject(
        Threshold(), (x * factor).astype(np.float32), y, input={"range": (0, factor)}
    )


@pytest.mark.parametrize(("factor", "state"), [(1.0, "met"), (255.0, "failed")])
def test_bytes_for_unit_floats(factor, state):
    record = audit.run(subject(factor), ["behaviour.input_scale"])
    check = record.checks[0]
    assert check.state == state
    if state == "failed":
        assert any("divided by 255" in f.what_happened for f in record.findings_of(check.id))
        gain = next(m for m in check.metrics if m.slice == {"inputs": "divided by 255"})
        assert gain.value == pytest.approx(0.5, abs=0.01)


def test_a_table_given_standardised_to_a_model_that_is_not():
    rng = np.random.default_rng(0)
    raw = rng.normal(50, 10, (400, 3)).astype(np.float32)
    y = (raw[:, 0] > 50).astype(int)
    model = nn.Linear(3, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.0, 0, 0], [1.0, 0, 0]]))
        model.bias.copy_(torch.tensor([0.0, -50.0]))
    features = [{"name": n, "columns": [i], "mean": 50, "std": 10} for i, n in enumerate("abc")]
    for x, state in ((raw, "met"), ((raw - 50) / 10, "failed")):
        check = audit.run(audit.Subject(model, x, y, features=features), ["behaviour.input_scale"])
        assert check.checks[0].state == state

"""A fragile model is found out and its robust twin is not; a masked one settles nothing."""

import numpy as np
import pytest
import torch
from torch import nn

import audit
from audit.judge import Policy

from ...conftest import image_data, table_data


def audited(subject, **parameters):
    return audit.run(subject, [audit.check("robustness.pgd", **parameters)], policy=Policy())


def outcome(subject, **parameters):
    return audited(subject, **parameters).checks[0]


class Steep(nn.Module):
    """Right on every row, with a margin of the given width."""

    def __init__(self, tiny: float) -> None:
        super().__init__()
        self.scale = tiny

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = x[:, :1] + self.scale * x[:, 1:2]
        return torch.cat([-z, z], 1)


def rows(gap):
    """Column 0 tells the class by ±gap; the other columns are noise of spread 1."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3)).astype(np.float32)
    y = np.arange(400) % 2
    x[:, 0] = np.where(y == 1, gap, -gap)
    return x, y


FEATURES = [
    {"name": "a", "columns": [0], "std": 1.0}, {"name": "b", "columns": [1]},
    {"name": "c", "columns": [2]},
]  # fmt: skip


def test_fragile_model_fails_and_robust_twin_passes():
    x, y = rows(1.1)
    robust = outcome(audit.Subject(Steep(0.0), x, y), eps=0.3)
    assert robust.state == "met", robust.reason
    assert robust.metrics[2].value == 1.0
    x, y = rows(0.05)
    fragile = audited(audit.Subject(Steep(0.0), x, y, features=FEATURES), eps=0.3)
    assert fragile.check("robustness.pgd").state == "failed"
    found = fragile.findings_of("robustness.pgd")[0]
    assert found.severity == "high"
    assert "0 %" in found.what_happened
    assert "MITRE ATLAS AML.T0043" in found.tags


class Quantised(nn.Module):
    """The fragile model behind a step function: its gradient is zero everywhere."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = (x[:, :1] * 100).round()
        return torch.cat([-z, z], 1)


class Loud(nn.Module):
    """softmax(30 · logits), written so that the sharpness cannot be taken off."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.softmax(300 * self.inner(x), 1) * 1.0


def test_masked_gradients_are_not_a_pass():
    x, y = rows(0.05)
    check = outcome(audit.Subject(Quantised(), x, y, features=FEATURES), eps=0.3)
    assert check.state == "undecided"
    broken = {v.name for v in check.validity if v.passed is False}
    assert "gradients" in broken
    assert "black-box no better" in broken


def test_saturated_softmax_is_not_a_pass(cnn):
    x, y = image_data(200, seed=3)
    check = outcome(audit.Subject(Loud(cnn), x, y, input={"range": (0, 1)}), eps=0.1)
    assert check.state == "undecided"
    assert any(v.passed is False for v in check.validity)


def test_an_inferred_range_cannot_carry_a_pass(cnn):
    x, y = image_data(200, seed=3)
    given = outcome(audit.Subject(cnn, x, y, input={"range": (0, 1)}), eps=0.01)
    inferred = outcome(audit.Subject(cnn, x, y), eps=0.01)
    assert given.state == "met"
    assert inferred.state == "undecided"
    assert "input range" in inferred.reason


def test_budget_removed_unlocks_immutable_features():
    """Two of four features immutable: without unlocking them accuracy could never fall to zero."""
    x, y = table_data(300)
    x[:, 2:] = x[:, :2]
    model = nn.Linear(4, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.0, 0, -2, -2], [0.1, 0.1, 2, 2]]))
        model.bias.zero_()
    features = [{"name": n, "columns": [i], "mutable": i < 2} for i, n in enumerate("abcd")]
    check = outcome(audit.Subject(model, x, y, features=features))
    removed = next(v for v in check.validity if v.name == "budget removed")
    assert removed.passed, removed.detail


def test_nothing_to_attack_is_not_applicable():
    x, y = table_data(100)
    features = [{"name": n, "columns": [i], "mutable": False} for i, n in enumerate("abcd")]
    with pytest.raises(audit.NotApplicable, match="no numeric feature is mutable"):
        audit.check("robustness.pgd").measure(audit.Subject(nn.Linear(4, 2), x, y, features=features))


def test_default_eps_is_8_255_of_the_width(cnn):
    x, y = image_data(60)
    subject = audit.Subject(cnn, x * 16, y, input={"range": (0, 16)})
    found = audit.check("robustness.pgd", steps=2).measure(subject)
    assert found.metric("robust_accuracy", eps=8 / 255 * 16).n == 60
    assert "3.1 % of the range (eps 0.502)" in found.answer


def test_no_examples_leaves_none(images):
    record = audit.run(images, [audit.check("robustness.pgd", eps=0.3)], examples=False)
    assert not any(f.png or f.example for f in record.checks[0].figures)
    assert any(f.png for f in audit.check("robustness.pgd", eps=0.3).measure(images).figures)

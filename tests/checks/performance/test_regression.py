"""R² is scikit-learn's; a constant is no model."""

import numpy as np
import pytest
import torch
from sklearn.metrics import mean_absolute_error, r2_score
from torch import nn

import audit


def subject(slope):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3)).astype(np.float32)
    y = 2 * x[:, 0] + rng.normal(size=400)
    model = nn.Linear(3, 1)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[slope, 0.0, 0.0]]))
        model.bias.zero_()
    return audit.Subject(model, x, y), slope * x[:, 0], y


def test_the_numbers_are_the_librarys():
    s, answer, y = subject(1.5)
    found = audit.check("performance.regression").measure(s)
    assert found.metric("r2").value == pytest.approx(r2_score(y, answer), abs=1e-6)
    assert found.metric("mean_absolute_error").value == pytest.approx(
        mean_absolute_error(y, answer), abs=1e-6
    )
    assert found.metric("r2").low < found.metric("r2").value < found.metric("r2").high


@pytest.mark.parametrize(("slope", "state"), [(2.0, "met"), (-2.0, "failed")])
def test_worse_than_a_constant_fails(slope, state):
    record = audit.run(subject(slope)[0], ["performance.regression"])
    assert record.checks[0].state == state
    assert record.verdict.exit_code == (state == "failed")


def test_classes_and_several_values_are_refused(images):
    check = audit.check("performance.regression")
    with pytest.raises(audit.NotApplicable, match="multiclass"):
        check.measure(images)
    x = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
    with pytest.raises(
        audit.AuditError, match="hold one value a sample and the model answers with 2"
    ):
        audit.Subject(nn.Linear(3, 2), x, x[:, 0], task="regression")

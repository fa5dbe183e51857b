"""A feature that holds the label is named; honest features are not."""

import numpy as np
import pytest
import torch
from torch import nn

import audit


def table(leak, regression=False):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 4)).astype(np.float32)
    truth = x[:, 0] + x[:, 1] + rng.normal(size=600) * 0.3
    y = truth.astype(np.float32) if regression else (truth > 0).astype(int)
    if leak:
        x[:, 3] = y + rng.normal(size=600) * 0.05
    model = nn.Linear(4, 1 if regression else 2)
    with torch.no_grad():
        model.weight.zero_()
        model.weight[-1, 3] = 4.0
        model.bias[-1] = -2.0 * (not regression)
    return audit.Subject(model, x, y)


@pytest.mark.parametrize("regression", [False, True])
@pytest.mark.parametrize("leak", [False, True])
def test_a_feature_that_holds_the_label_is_named(leak, regression):
    record = audit.run(table(leak, regression), ["data.leakage"])
    check = record.checks[0]
    assert check.state == ("failed" if leak else "met")
    if leak:
        assert "column 3" in record.findings_of(check.id)[0].what_happened
        reliance = next(m for m in check.metrics if m.name == "reliance")
        assert reliance.value > 0.3  # half of the rows would answer otherwise


def test_a_useless_feature_has_no_skill():
    found = audit.check("data.leakage").measure(table(False))
    skills = [m.value for m in found.metrics if m.name == "skill_alone"]
    assert max(skills) < 0.7
    assert min(skills) < 0.1


def test_pictures_are_refused(images):
    with pytest.raises(audit.NotApplicable, match="pictures"):
        audit.check("data.leakage").measure(images)


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_of_a_wide_table_the_feature_that_tells_is_among_those_looked_at(task):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 600)).astype(np.float32)
    y = x[:, 417] if task == "regression" else (x[:, 417] > 0).astype(np.int64)
    named = [{"name": f"c{i}", "columns": [i]} for i in range(600)]
    model = torch.nn.Linear(600, 1 if task == "regression" else 2)
    subject = audit.Subject(model, x, y, features=named, task=task)
    found = audit.check("data.leakage").measure(subject)
    assert found.metrics[0].slice == {"feature": "c417"}
    assert found.metrics[0].value > 0.9

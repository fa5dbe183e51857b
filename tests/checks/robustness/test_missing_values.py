"""A value whose absence decides is named; imputation is what it says."""

import numpy as np
import pytest
import torch
from torch import nn

import audit
from audit.methods.interventions import fill

FEATURES = [
    {"name": "age", "columns": [0], "mean": 40, "std": 10},
    {"name": "job", "columns": [1, 2], "kind": "categorical", "categories": ["a", "b"]},
    {"name": "noise", "columns": [3], "mean": 0, "std": 1},
]


def subject(decides):
    rng = np.random.default_rng(0)
    x = np.zeros((300, 4), dtype=np.float32)
    x[:, 0] = rng.normal(40, 10, 300)
    x[np.arange(300), 1 + (np.arange(300) % 3 == 0)] = 1
    x[:, 3] = rng.normal(size=300)
    model = nn.Linear(4, 2)
    with torch.no_grad():
        model.weight.zero_()
        model.bias.copy_(torch.tensor([0.0, -0.5]))
        if decides:  # without any job the answer is always the second class
            model.weight[0, 1:3] = 1.0
            model.bias.copy_(torch.tensor([0.0, 0.5]))
    return audit.Subject(model, x, np.zeros(300), features=FEATURES, task="binary")


@pytest.mark.parametrize("decides", [True, False])
def test_what_decides_when_it_is_missing(decides):
    check = audit.run(subject(decides), ["robustness.missing_values"]).checks[0]
    assert check.state == ("failed" if decides else "met")
    if decides:
        top = check.metrics[0]
        assert top.slice == {"missing": "job", "filled by": "none"}
        assert top.value == 1.0


def test_a_value_that_tells_everything_is_missed_and_its_absence_decides_nothing():
    """Two in five answers turn on the sign of one column: without it they must change. They change no
    less with another sample's value, which is there."""
    rng = np.random.default_rng(0)
    x = rng.normal(-0.2, 1, (400, 8)).astype(np.float32)
    x[:, 0] = np.where(rng.random(400) < 0.45, 1, -1)
    model = nn.Linear(8, 2)
    with torch.no_grad():
        model.weight.zero_()
        model.weight[1, 0], model.bias[:] = 4.0, 0.0
    named = [{"name": f"c{i}", "columns": [i], "mean": 0, "std": 1} for i in range(8)]
    s = audit.Subject(model, x, x[:, 0] > 0, features=named, task="binary")
    check = audit.run(s, ["robustness.missing_values"], profile="quick").checks[0]
    assert {(e.metric, e.severity) for e in check.expectations if e.state == "failed"} == {
        ("answers_changed", "medium")
    }
    changed, more = (
        next(m for m in check.metrics if m.name == name and m.slice["missing"] == "c0")
        for name in ("answers_changed", "changed_by_absence")
    )
    assert changed.low > 0.35 > more.high


def test_fillings_are_those_that_people_use():
    s = subject(False)
    ways = [
        ("age", "mean"),
        ("age", "zero"),
        ("job", "most frequent"),
        ("job", "none"),
        ("noise", "mean"),
        ("noise", "zero"),
    ]
    assert [(f.name, how) for f, how in s.kind.fillings(s)] == ways
    x = s.inputs[:2].clone()
    fill(s, x, s.features[0], "mean")
    fill(s, x, s.features[1], "most frequent")
    assert x[:, 0].tolist() == pytest.approx([float(s.inputs[:, 0].mean())] * 2, rel=1e-5)
    assert x[:, 1:3].tolist() == [[1, 0], [1, 0]]


def test_channels_of_a_series_go_missing():
    found = audit.check("robustness.missing_values", samples=50).measure(
        audit.load("zoo:vowels-gru")
    )
    assert sum(m.name == "answers_changed" for m in found.metrics) == 24

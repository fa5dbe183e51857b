"""The loss under noise is that of the normal distribution; a fragile model fails."""

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import nn

import audit


def subject(gap, n=4000):
    """One column at ±gap of its standard deviation, which the decision hangs on; one category."""
    rng = np.random.default_rng(0)
    y = np.arange(n) % 2
    x = np.zeros((n, 4), dtype=np.float32)
    x[:, 3] = rng.normal(size=n)  # tells samples apart: equal ones draw equal noise
    x[:, 0] = (2 * y - 1) * gap
    x[np.arange(n), 1 + rng.integers(0, 2, n)] = 1.0
    x[0, 0], x[1, 0] = -3, 3  # the range of the data leaves room
    model = nn.Linear(4, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[-1.0, 0, 0, 0], [1.0, 0, 0, 0]]))
        model.bias.zero_()
    features = [
        {"name": "a", "columns": [0], "mean": 0, "std": 1},
        {"name": "b", "columns": [3], "mean": 0, "std": 1},
        {"name": "c", "columns": [1, 2], "kind": "categorical", "categories": ["u", "v"]},
    ]
    return audit.Subject(model, x, y, features=features)


@pytest.mark.parametrize(("gap", "state"), [(0.02, "failed"), (1.0, "met")])
def test_the_loss_is_that_of_the_normal_distribution(gap, state):
    check = audit.run(subject(gap), ["robustness.noise"], profile="deep").checks[0]
    assert check.state == state
    for metric in check.metrics:
        if metric.name == "loss":
            expected = norm.cdf(-gap / metric.slice["noise"])
            assert metric.value == pytest.approx(expected, abs=0.03)


def test_categories_stay():
    from audit.checking import Context
    from audit.producers.corruptions import noisy

    s = subject(1.0, 100)
    with torch.no_grad():
        s.core.weight.copy_(torch.tensor([[0.0, 1, 0, 0], [0, 0, 1, 0]]))
    before = s.logits(s.inputs)
    after = Context.of(s).evidence(noisy, np.arange(100), strength=0.5)["logits"]
    assert torch.equal(before, after)


def test_values_and_series():
    for name in ("crime-regression", "vowels-gru"):
        found = audit.check("robustness.noise", samples=100).measure(audit.load(f"zoo:{name}"))
        assert [m.slice["noise"] for m in found.metrics if m.name == "loss"] == [
            0.05,
            0.1,
            0.2,
            0.3,
            0.5,
        ]


def test_pictures_are_sent_to_the_other_check(images):
    with pytest.raises(audit.NotApplicable, match="corruptions"):
        audit.check("robustness.noise").measure(images)

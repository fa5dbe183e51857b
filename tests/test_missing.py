"""Values that are missing, and a model that takes that."""

import numpy as np
import pytest
import torch
from torch import nn

import audit
from audit.errors import AuditError
from audit.evidence import Store
from audit.producers.attacks import pgd, square
from audit.producers.attributions import integrated_gradients
from audit.producers.budgets import budget


class Lenient(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(8, 2)

    def forward(self, x):
        return self.layer(torch.cat([x.nan_to_num(), x.isnan().to(x)], 1))


@pytest.fixture
def rows():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(120, 4)).astype(np.float32)
    y = (x[:, 0] > 0).astype(int)
    x[generator.random(x.shape) < 0.2] = np.nan
    return x, y


def test_a_model_that_answers_to_missing_values_is_audited_and_it_is_told(rows):
    subject = audit.Subject(Lenient(), *rows)
    fact = next(f for f in subject.facts if f.name == "missing values")
    assert "in " in fact.value
    x = rows[0]
    assert np.allclose(subject.moments.mean[0], np.nanmean(x, 0), atol=1e-5)
    assert np.allclose(subject.moments.std[0], np.nanstd(x, 0, ddof=1), atol=1e-5)
    assert np.allclose(subject.moments.low[0], np.nanmin(x, 0))


def test_one_that_answers_with_nan_is_refused_with_the_first_sample(rows):
    first = int(np.isnan(rows[0]).any(1).argmax())
    with pytest.raises(AuditError, match=rf"samples hold NaN or Inf .the first is number {first}"):
        audit.Subject(nn.Linear(4, 2), *rows)


def test_infinity_is_refused(rows):
    x, y = rows
    x[3, 1] = np.inf
    with pytest.raises(AuditError, match="hold NaN or Inf"):
        audit.Subject(Lenient(), x, y)


@pytest.mark.parametrize(
    ("attack", "parameters"),
    [(pgd, {"eps": 0.5, "steps": 3}), (square, {"eps": 0.5, "queries": 5})],
)
def test_an_attack_leaves_alone_what_is_missing(rows, attack, parameters):
    subject = audit.Subject(Lenient(), *rows)
    found = Store(subject).get(attack, np.arange(120), **parameters)["x"]
    gone = subject.inputs.isnan()
    assert torch.equal(found.isnan(), gone)
    assert bool((found != subject.inputs)[~gone].any())
    assert bool(
        (budget(subject, 0.5).around(subject.inputs).low[~gone] < subject.inputs[~gone]).any()
    )


def test_what_is_missing_has_no_share_in_an_answer(rows):
    subject = audit.Subject(Lenient(), *rows)
    found = Store(subject).get(integrated_gradients, np.arange(120), steps=8)
    gone = subject.inputs.isnan()
    assert bool(torch.isfinite(found["map"]).all())
    assert not bool(found["map"][gone].any())
    assert float(found["error"].median()) < 0.05

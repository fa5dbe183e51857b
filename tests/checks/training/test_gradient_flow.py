"""A deep stack of sigmoids starves its first layers; one of ReLUs does not; norms are exact."""

import numpy as np
import pytest
import torch
from torch import nn

import audit
from audit.checking import Context


def stack(activation, depth=10):
    torch.manual_seed(0)
    layers = [nn.Linear(4, 32)]
    for _ in range(depth):
        layers += [activation(), nn.Linear(32, 32)]
    model = nn.Sequential(*layers, activation(), nn.Linear(32, 2))
    for m in model:
        if isinstance(m, nn.Linear):
            nn.init.kaiming_normal_(m.weight)
    return model


def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(500, 4)).astype(np.float32), np.arange(500) % 2


@pytest.mark.parametrize(("activation", "state"), [(nn.Sigmoid, "failed"), (nn.ReLU, "met")])
def test_starved_layers(activation, state):
    record = audit.run(audit.Subject(stack(activation), *data()), ["training.gradient_flow"])
    check = record.checks[0]
    assert check.state == state
    if state == "failed":
        starved = [m for m in check.metrics if m.name == "starved_share"]
        assert [m.value for m in starved[:2]] == [1.0, 1.0]
        assert starved[-1].value == 0.0


@pytest.mark.parametrize(("factor", "state"), [(1.0, "met"), (1e7, "failed")])
def test_exploding_activations(factor, state):
    model = stack(nn.ReLU, depth=1)
    with torch.no_grad():
        model[0].weight *= factor
        model[2].weight /= factor
    check = audit.run(audit.Subject(model, *data()), ["training.gradient_flow"]).checks[0]
    assert check.state == state


def test_the_norm_is_the_one_computed_by_hand():
    from audit.methods.activations import layer_flow

    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    s = audit.Subject(model, *data())
    found = Context.of(s).evidence(layer_flow, np.arange(5))
    # log-odds of two classes is the difference of the logits: the gradient is ±(w1 − w0).
    difference = model[1].weight[1] - model[1].weight[0]
    assert found["gradient 0"].numpy() == pytest.approx(float(difference.detach().norm()), rel=1e-5)
    assert found["gradient 1"].numpy() == pytest.approx(2**0.5, rel=1e-5)


def test_tokens_and_recurrence_are_watched_too():
    for name in ("snippets-transformer", "vowels-gru"):
        found = audit.check("training.gradient_flow", samples=50).measure(audit.load(f"zoo:{name}"))
        assert all(m.value == 0 for m in found.metrics if m.name == "starved_share")

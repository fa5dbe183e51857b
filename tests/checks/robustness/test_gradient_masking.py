"""Masked gradients are called so; honest ones are not."""

import pytest
import torch
from torch import nn

import audit

from ...conftest import image_data


class Rounded(nn.Module):
    def __init__(self, core):
        super().__init__()
        self.core = core

    def forward(self, x):
        return self.core((x * 1000).round() / 1000)


class Straight(nn.Module):
    """A gradient that points the wrong way: only a blind search finds how fragile the model is."""

    def __init__(self, core):
        super().__init__()
        self.core = core

    def forward(self, x):
        class Turn(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return x.clone()

            @staticmethod
            def backward(ctx, gradient):
                return -gradient

        return self.core(Turn.apply(x))


def check(model):
    x, y = image_data(seed=1)
    # closer classes, so that a search finds something to break
    x = 0.5 + (x - 0.5) * 0.2
    s = audit.Subject(model, x, y, input={"range": (0, 1)})
    return audit.run(s, ["robustness.gradient_masking"]).checks[0]


def test_zero_gradients(cnn):
    found = check(Rounded(cnn))
    assert found.state == "failed"
    assert {m.name: m.value for m in found.metrics}["zero_gradient_share"] == 1.0


def test_an_honest_model_passes(cnn):
    assert check(cnn).state == "met"


def test_a_gradient_that_misleads_is_found_by_the_blind_search(cnn):
    found = check(Straight(cnn))
    assert {m.name: m.value for m in found.metrics}["zero_gradient_share"] == 0.0
    assert found.state == "failed"


def test_tokens_are_refused():
    with pytest.raises(audit.NotApplicable, match="tokens"):
        audit.check("robustness.gradient_masking").measure(audit.load("zoo:snippets-textcnn"))

"""What hides gradients is broken around the hiding, and told broken only where the model is wrong."""

import numpy as np
import pytest
import torch
from torch import nn

import audit
from audit.checking import Context
from audit.producers.attacks import apgd, unmasked

from ...conftest import image_data

EPS, N = 0.25, 120


class ZeroGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return torch.round(x * 10) / 10

    @staticmethod
    def backward(ctx, gradient):
        return torch.zeros_like(gradient)


class Layer(nn.Module):
    """A quantiser as a layer of its own, out of reach of anything but hooks."""

    def forward(self, x):
        return ZeroGradient.apply(x)


class Masked(nn.Module):
    def __init__(self, core, how):
        super().__init__()
        self.core, self.how = core, how
        self.layer = Layer() if how == "layer" else nn.Identity()

    def forward(self, x):
        if self.how == "function":
            x = ZeroGradient.apply(x)
        elif self.how == "rounded":
            x = (x * 10).round() / 10
        elif self.how == "numpy":
            x = torch.from_numpy(np.round(x.detach().cpu().numpy() * 10) / 10)
        elif self.how == "no_grad":
            with torch.no_grad():
                return self.core(x)
        elif self.how == "noise":
            x = x + 0.2 * torch.randn_like(x)
        z = self.core(self.layer(x))
        return (200 * z).softmax(1).clamp(1e-9, 1) if self.how == "softmax" else z


def masked(cnn, how):
    x, y = image_data(240, seed=1)
    x = 0.5 + (x - 0.5) * 0.6  # closer classes: the plain model breaks
    output = "probabilities" if how == "softmax" else "logits"
    return audit.Subject(Masked(cnn, how), x, y, input={"range": (0, 1)}, output=output)


def left(subject, attack, **parameters):
    found = Context.of(subject).evidence(attack, np.arange(N), eps=EPS, steps=20, **parameters)
    return 1 - float(found["broken"].float().mean())


HOW = ["function", "layer", "rounded", "numpy", "no_grad", "softmax"]


@pytest.mark.parametrize("how", HOW)
def test_masked_twins_are_broken_as_the_plain_model_is(cnn, how):
    plain = left(masked(cnn, "plain"), apgd, loss="ce")
    subject = masked(cnn, how)
    hidden, found = left(subject, apgd, loss="ce"), left(subject, unmasked, loss="ce")
    assert hidden > plain + 0.3
    assert found < plain + 0.1


def test_it_is_no_weaker_on_a_model_that_hides_nothing(cnn):
    subject = masked(cnn, "plain")
    assert left(subject, unmasked, loss="dlr") <= left(subject, apgd, loss="dlr") + 0.02


def test_a_model_that_draws_lots_is_broken_on_the_mean(cnn):
    subject = masked(cnn, "noise")
    assert (
        left(subject, unmasked, loss="ce", draws=8)
        < left(masked(cnn, "plain"), apgd, loss="ce") + 0.1
    )


@pytest.mark.parametrize("how", [*HOW, "plain"])
def test_what_is_called_broken_is_and_the_model_is_unharmed(cnn, how):
    subject = masked(cnn, how)
    before = [
        len(m._forward_hooks) + len(m._forward_pre_hooks) for m in subject.network.model.modules()
    ]
    found = Context.of(subject).evidence(unmasked, np.arange(N), eps=EPS, steps=10, loss="ce")
    with torch.no_grad():
        wrong = subject.logits(found["x"]).argmax(1) != subject.labels[:N]
    assert torch.equal(wrong, found["broken"])
    assert float((found["x"] - subject.inputs[:N]).abs().max()) <= EPS + 1e-6
    after = [
        len(m._forward_hooks) + len(m._forward_pre_hooks) for m in subject.network.model.modules()
    ]
    assert before == after
    assert torch.is_grad_enabled()

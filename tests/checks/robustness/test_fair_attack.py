"""What is held against an attack: paired tests at the level that they state, on as many samples as needed."""

import numpy as np
import pytest
import torch
from torch import nn

import audit
from audit.checks.robustness.fair_attack import fewer_left
from audit.errors import NotApplicable


@pytest.mark.parametrize(
    ("lost", "gained", "passed"),
    [
        (5, 0, True),  # two-sided p = .063
        (6, 0, False),  # p = .031
        (12, 3, False),  # p = .035: none of these is as rare as one in a thousand
        (11, 3, True),  # p = .057
        (0, 20, True),
    ],
)
def test_another_attack_that_breaks_more_is_doubted_at_one_in_twenty(lost, gained, passed):
    ours, other = np.zeros(100, bool), np.zeros(100, bool)
    ours[:lost], other[lost : lost + gained] = True, True  # left standing by the one alone
    found = fewer_left("black-box no better", "a search", ours, other)
    assert found.passed is passed
    assert f"breaks {lost} that" in found.detail


class Signed(nn.Module):
    """Its gradient points the wrong way for the samples whose first pixel is marked."""

    def __init__(self, core):
        super().__init__()
        self.core = core

    def forward(self, x):
        class Turn(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return x.clone()

            @staticmethod
            def backward(ctx, gradient):
                (x,) = ctx.saved_tensors
                return torch.where(x[:, :, :1, :1] > 0.95, -gradient, gradient)

        return self.core(Turn.apply(x))


@pytest.mark.parametrize(("share", "tried", "passed"), [(0.0, 34, True), (0.3, 100, False)])
def test_other_attacks_are_tried_on_all_samples_where_they_find_anything(cnn, share, tried, passed):
    from ...conftest import image_data

    x, y = image_data(200, seed=1)
    x = 0.5 + (x - 0.5) * 0.3
    x[:, 0, 0, 0] = np.where(np.arange(200) % 10 < 10 * share, 1.0, 0.5)
    subject = audit.Subject(Signed(cnn), x, y, input={"range": (0, 1)})
    found = audit.check("robustness.pgd", eps=0.1, samples=200, queries=100).measure(subject)
    blind = next(v for v in found.validity if v.name == "black-box no better")
    assert f"of {tried} samples" in blind.detail
    assert blind.passed is passed, blind.detail


@pytest.mark.parametrize(
    "check",
    ["robustness.pgd", "robustness.fgsm", "robustness.worst_case"],
)
def test_a_model_that_is_always_wrong_leaves_an_attack_untested(check):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 4)).astype(np.float32)
    model = nn.Linear(4, 2).eval()
    with torch.no_grad():
        wrong = model(torch.from_numpy(x)).argmin(1)
    subject = audit.Subject(model, x, wrong, input={"kind": "tabular"})
    with pytest.raises(NotApplicable, match="nothing to attack"):
        audit.check(check).measure(subject)

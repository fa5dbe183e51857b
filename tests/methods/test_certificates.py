"""Proofs hold: exact on linear models, never above what an attack finds, refused where none is known."""

import numpy as np
import pytest
import torch
from torch import nn

import audit
from audit.checking import Context
from audit.errors import NotApplicable
from audit.methods.attacks.budgets import Budget
from audit.methods.attacks.minimum_norm import minimum_eps, smallest_l2
from audit.methods.certificates import boundable, certified_eps, margins, network_of

from ..conftest import image_data, trained
from .attacks.test_budgets import WEIGHT, linear


@pytest.mark.parametrize(("norm", "dual"), [("linf", 1), ("l2", 2)])
def test_of_a_linear_model_all_is_proven_that_is_true(norm, dual):
    subject = linear()
    found = Context.of(subject).evidence(
        certified_eps, np.arange(200), highest=4.0, halvings=14, norm=norm
    )["eps"]
    exact = (subject.x.flatten(1) @ WEIGHT).abs() / WEIGHT.norm(p=dual)
    clear = exact > 0.01
    assert torch.allclose(found[clear], exact[clear], rtol=2e-3)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Linear(64, 3)

    def forward(self, x):
        h = torch.relu(self.norm(self.first(2 * x - 1)))
        h = self.pool(torch.relu(self.second(h) + h))
        return self.head(h.view(h.size(0), -1).reshape(h.shape[0], 64))


class Smooth(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 16), nn.Sigmoid(),
            nn.Linear(16, 3), nn.Softmax(1),
        )  # fmt: skip

    def forward(self, x):
        return self.body(x)


def subject_of(model, **known):
    x, y = image_data(120, seed=1)
    return audit.Subject(trained(model, x, y), x, y, input={"range": (0, 1)}, **known)


@pytest.fixture(scope="module")
def subjects(cnn):
    x, y = image_data(120, seed=1)
    return {
        "cnn": audit.Subject(cnn, x, y, input={"range": (0, 1)}),
        "residual": subject_of(Residual()),
        "smooth": subject_of(Smooth(), output="probabilities"),
        "deep": subject_of(nn.Sequential(
            nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 32), nn.LeakyReLU(),
            nn.Linear(32, 3),
        )),
    }  # fmt: skip


KINDS = ["cnn", "residual", "smooth", "deep"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_certified_is_true_is_at_most_what_attacks_leave(subjects, kind):
    context, n = Context.of(subjects[kind]), np.arange(100)
    for norm, empirical in (
        ("linf", context.evidence(minimum_eps, n, highest=1.0, halvings=8, steps=20)["eps"]),
        ("l2", context.evidence(smallest_l2, n, ["eps"], steps=50, nearest=2, rounds=2)["eps"]),
    ):
        proven = context.evidence(certified_eps, n, highest=2.0, halvings=8, norm=norm)["eps"]
        assert bool((proven <= empirical + 1e-6).all())
        assert float(proven.median()) > 0.001


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("kind", KINDS)
def test_no_point_of_the_budget_lies_below_the_bound(subjects, kind, norm):
    subject = subjects[kind]
    x, y = subject.batch(range(20))
    like = torch.ones(1, 1, 8, 8)
    ball = Budget(0.1 * like, 0 * like, like, norm).around(x)
    network = network_of(subject)
    with torch.no_grad():
        bound = margins(subject, network, ball, y)
        generator = torch.Generator().manual_seed(0)
        for _ in range(200):
            z = subject.logits(ball.start(torch.rand(x.shape, generator=generator)))
            true = z.gather(1, y[:, None])[:, 0]
            lead = true - z.scatter(1, y[:, None], -torch.inf).amax(1)
            assert bool((lead >= bound - 1e-5).all())


def test_a_point_is_bounded_by_its_own_margin(subjects):
    subject = subjects["residual"]
    x, y = subject.batch(range(30))
    like = torch.ones(1, 1, 8, 8)
    ball = Budget(0 * like, 0 * like, like).around(x)
    with torch.no_grad():
        bound, z = margins(subject, network_of(subject), ball, y), subject.logits(x)
    lead = z.gather(1, y[:, None])[:, 0] - z.scatter(1, y[:, None], -torch.inf).amax(1)
    assert torch.allclose(bound, lead, atol=1e-4)


def test_one_score_and_a_threshold_are_bounded_too():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(100, 2)).astype(np.float32)
    model = nn.Linear(2, 1)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, 2.0]]))
        model.bias.zero_()
    features = [{"name": n, "columns": [i], "std": 1} for i, n in enumerate("ab")]
    y = (x @ [1, 2] > 0).astype(int)
    subject = audit.Subject(model, x, y, task="binary", output="logits", features=features)
    found = Context.of(subject).evidence(certified_eps, np.arange(100), highest=4, halvings=14)["eps"]
    exact = torch.as_tensor(np.abs(x @ [1, 2]) / 3).float()
    # An edge of the data's range may cut the budget: then more is proven.
    assert bool((found >= exact * 0.99 - 4 / 2**12).all())
    inside = (torch.as_tensor(np.abs(x)) + exact[:, None] < 2).all(1) & (exact > 0.01)
    assert int(inside.sum()) > 20
    assert torch.allclose(found[inside], exact[inside], rtol=0.01)


@pytest.mark.parametrize(("layer", "name"), [
    (nn.GRU(8, 4, batch_first=True), "GRU"), (nn.MultiheadAttention(8, 2), "MultiheadAttention"),
    (nn.GELU(), "GELU"),
])  # fmt: skip
def test_a_layer_without_bounds_is_named(layer, name):
    class Holder(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.head = layer, nn.Linear(8, 2)

        def forward(self, x):
            if name == "GELU":
                return self.head(self.layer(x)).mean(1)
            h = self.layer(x)[0] if name == "GRU" else self.layer(x, x, x)[0]
            return nn.functional.pad(h, (0, 8 - h.shape[2])).mean(1)[:, :2]

    x = np.random.default_rng(0).normal(size=(20, 5, 8)).astype(np.float32)
    subject = audit.Subject(Holder(), x, np.arange(20) % 2, input={"range": (-4, 4)}, output="logits")
    with pytest.raises(NotApplicable, match=name):
        boundable(subject)

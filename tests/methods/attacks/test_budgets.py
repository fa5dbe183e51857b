"""Budgets hold in both norms; tables stay valid; directions are the steepest."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import audit
from audit.checking import Context
from audit.methods.attacks.budgets import Budget
from audit.producers.attacks import apgd, pgd, recategorised, square
from audit.producers.budgets import budget
from audit.threats.threat import l2_eps


def unit(norm, radius=0.5, shape=(3, 4)):
    like = torch.ones(1, *shape)
    return Budget(radius * like, -2 * like, 2 * like, norm)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_projection_reaches_the_budget_and_no_further(norm):
    x = torch.zeros(50, 3, 4)
    ball = unit(norm).around(x)
    generator = torch.Generator().manual_seed(0)
    point = ball.project(torch.randn(50, 3, 4, generator=generator))
    size = point.abs().amax((1, 2)) if norm == "linf" else point.flatten(1).norm(dim=1)
    assert torch.allclose(size, torch.full((50,), 0.5), atol=1e-5)
    inside = 0.01 * torch.randn(50, 3, 4, generator=generator)
    assert torch.allclose(ball.project(inside), inside)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_no_direction_is_steeper(norm):
    generator = torch.Generator().manual_seed(1)
    gradient = torch.randn(5, 3, 4, generator=generator)
    ball = unit(norm).around(torch.zeros(5, 3, 4))
    best = (ball.direction(gradient) * gradient).sum((1, 2))
    for _ in range(200):
        other = ball.project(torch.randn(5, 3, 4, generator=generator))
        assert bool(((other * gradient).sum((1, 2)) <= best + 1e-5).all())


def test_a_tiny_gradient_still_has_a_direction():
    ball = unit("l2").around(torch.zeros(1, 3, 4))
    gradient = torch.full((1, 3, 4), 1e-30)
    assert float(ball.direction(gradient).norm()) == pytest.approx(0.5, rel=1e-4)


def test_what_may_not_be_touched_is_not():
    radius = torch.tensor([[0.5, 0.0, 0.5]])
    ball = Budget(radius, -torch.ones(1, 3), torch.ones(1, 3), "l2").around(torch.zeros(4, 3))
    for point in (
        ball.project(torch.ones(4, 3)),
        ball.start(torch.rand(4, 3)),
        ball.project(ball.direction(torch.ones(4, 3))),
    ):
        assert bool((point[:, 1] == 0).all())


WEIGHT = torch.tensor([1.0, -2.0, 0.5, 0.0, 3.0, 1.0])
WEIGHT_NORMS = [("", float(WEIGHT.norm(p=1))), ("_l2", float(WEIGHT.norm()))]


def linear(weight=WEIGHT, n=200):
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (n, 1, 2, 3)).astype(np.float32)
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 2))
    with torch.no_grad():
        model[1].weight.copy_(torch.stack([-weight, weight]))
        model[1].bias.zero_()
    y = (x.reshape(n, 6) @ weight.numpy() > 0).astype(int)
    return audit.Subject(model, x, y, input={"range": (-9, 9)})


@pytest.mark.parametrize(
    ("attack", "parameters"),
    [
        (pgd, {"steps": 10}),
        (apgd, {"steps": 10, "loss": "ce"}),
        (apgd, {"steps": 10, "loss": "dlr"}),
    ],
)
def test_a_linear_model_breaks_in_l2_exactly_where_the_margin_ends(attack, parameters):
    """w·x breaks under L2 if and only if |w·x| < eps * ‖w‖₂."""
    subject, eps = linear(), 0.3
    broken = Context.of(subject).evidence(attack, np.arange(200), eps=eps, norm="l2", **parameters)
    distance = (subject.inputs.flatten(1) @ WEIGHT).abs() / WEIGHT.norm()
    clear = (distance - eps).abs() > 0.01
    assert torch.equal(broken["broken"][clear], (distance < eps)[clear])
    length = (broken["x"] - subject.inputs).flatten(1).norm(dim=1)
    assert float(length.max()) <= eps + 1e-5


def test_the_search_keeps_an_l2_budget(images):
    found = Context.of(images).evidence(square, np.arange(60), eps=2.0, queries=200, norm="l2")
    length = (found["x"] - images.inputs[:60]).flatten(1).norm(dim=1)
    assert float(length.max()) <= 2.0 + 1e-4
    assert float(found["x"].min()) >= 0
    assert float(found["x"].max()) <= 1
    wrong = images.logits(found["x"]).argmax(1) != images.labels[:60]
    assert torch.equal(wrong, found["broken"])
    assert float(wrong.float().mean()) > 0.05


def test_the_l2_budget_meets_the_fields_habits():
    class Sized:
        def __init__(self, *shape):
            self.kind = SimpleNamespace(movable=lambda _: math.prod(shape))

    assert l2_eps(Sized(3, 32, 32), 8 / 255) == pytest.approx(0.435, abs=0.001)
    assert l2_eps(Sized(1, 28, 28), 0.2) == pytest.approx(1.4)


def people(mutable=True):
    """Age in years and a category decide; the category's third value decides alone."""
    rng = np.random.default_rng(0)
    n = 200
    x = np.zeros((n, 5), dtype=np.float32)
    x[:, 0] = rng.integers(20, 60, n)
    x[:, 1] = rng.normal(size=n)
    x[np.arange(n), 2 + rng.integers(0, 2, n)] = 1
    model = nn.Linear(5, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.0] * 5, [0.5, 0.1, 0.0, 0.0, 50.0]]))
        model.bias.copy_(torch.tensor([0.0, -20.0]))
    y = (0.5 * x[:, 0] + 0.1 * x[:, 1] - 20 > 0).astype(int)
    features = [
        {"name": "age", "columns": [0], "std": 10},
        {"name": "score", "columns": [1], "std": 1},
        {
            "name": "work",
            "columns": [2, 3, 4],
            "kind": "categorical",
            "mutable": mutable,
            "categories": ["none", "some", "much"],
        },
    ]
    return audit.Subject(model, x, y, features=features)


@pytest.mark.parametrize(
    ("attack", "parameters"),
    [
        (pgd, {"steps": 10}),
        (apgd, {"steps": 10, "loss": "ce"}),
        (square, {"queries": 50}),
        (recategorised, {"steps": 10, "changes": 1}),
    ],
)
def test_every_adversarial_row_is_a_valid_row(attack, parameters):
    subject = people()
    found = Context.of(subject).evidence(attack, np.arange(200), eps=0.25, **parameters)
    x = found["x"]
    assert bool((x[:, 0] == x[:, 0].round()).all())
    # a quarter of a standard deviation of ten years, in whole years
    assert float((x[:, 0] - subject.inputs[:, 0]).abs().max()) == 2
    assert bool((x[:, 2:].sum(1) == 1).all())
    assert bool(((x[:, 2:] == 0) | (x[:, 2:] == 1)).all())
    assert torch.equal(subject.logits(x).argmax(1) != subject.labels, found["broken"])


def test_whole_numbers_break_exactly_where_a_whole_step_crosses():
    subject = people()
    broken = Context.of(subject).evidence(pgd, np.arange(200), eps=0.25, steps=20)["broken"]
    age, score = subject.inputs[:, 0], subject.inputs[:, 1]
    low, high = subject.moments.low[0, 1], subject.moments.high[0, 1]
    moved = (score + torch.where(subject.labels == 1, -0.25, 0.25)).clamp(low, high)
    z = 0.5 * (age + torch.where(subject.labels == 1, -2.0, 2.0)) + 0.1 * moved - 20
    clear = z.abs() > 1e-3
    assert torch.equal(broken[clear], ((z > 0).long() != subject.labels)[clear])


def test_only_mutable_categories_are_chosen():
    chosen = Context.of(people()).evidence(
        recategorised, np.arange(200), eps=0.0, steps=2, changes=1
    )
    young = people().labels == 0
    assert bool(chosen["broken"][young].all())
    assert bool((chosen["x"][young][:, 4] == 1).all())
    kept = Context.of(people(False)).evidence(
        recategorised, np.arange(200), eps=0.0, steps=2, changes=1
    )
    assert not bool(kept["broken"].any())


def test_what_counts_in_whole_numbers_is_told_and_can_be_said():
    subject = people()
    assert subject.whole.tolist() == [[True, False, False, False, False]]
    fact = next(f for f in subject.facts if f.name == "whole numbers")
    assert fact.value == ["age"]
    assert fact.source == "inferred"
    features = [f.model_copy(update={"whole": False}) for f in subject.features]
    said = audit.Subject(subject.core, subject.inputs, subject.labels, features=features)
    assert said.whole is None


def test_a_step_smaller_than_one_is_no_step():
    x = np.random.default_rng(0).integers(0, 3, (60, 2)).astype(np.float32)
    features = [{"name": n, "columns": [i], "std": 1} for i, n in enumerate("ab")]
    subject = audit.Subject(nn.Linear(2, 2), x, np.arange(60) % 2, features=features)
    with pytest.raises(audit.NotApplicable, match="less than one whole step"):
        audit.check("robustness.pgd").measure(subject)
    assert not bool(budget(subject, 0.1).around(subject.inputs).low.ne(subject.inputs).any())

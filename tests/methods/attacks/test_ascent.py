"""FGSM and PGD equal ART's point for point; the loop keeps its budget; streams depend on samples."""

import numpy as np
import pytest
import torch
from art.attacks.evasion import FastGradientMethod, ProjectedGradientDescentPyTorch
from art.estimators.classification import PyTorchClassifier

import audit
from audit.checking import Context
from audit.evidence import Batch
from audit.methods.attacks.ascent import ascent
from audit.methods.attacks.budgets import Budget
from audit.producers.attacks import pgd, square
from audit.producers.budgets import budget


@pytest.fixture
def classifier(cnn):
    return PyTorchClassifier(
        cnn, torch.nn.CrossEntropyLoss(), (1, 8, 8), 3, clip_values=(0.0, 1.0), device_type="cpu"
    )


def ascend(subject, n, eps=0.1, **parameters):
    x, y = subject.batch(range(n))
    allowed = budget(subject, eps)
    return x, y, allowed, ascent(subject.logits, x, y, allowed, **parameters)


def test_fgsm_is_arts_point_for_point(images, classifier):
    x, y, _, found = ascend(images, 64, steps=1, step=1.0)
    art = FastGradientMethod(classifier, eps=0.1, batch_size=64).generate(x.numpy(), y.numpy())
    assert np.abs(found.final.numpy() - art).max() <= 1e-6


def test_pgd_is_arts_point_for_point(images, classifier):
    x, y, _, found = ascend(images, 64, steps=7, step=0.25)
    art = ProjectedGradientDescentPyTorch(
        classifier,
        eps=0.1,
        eps_step=0.025,
        max_iter=7,
        num_random_init=0,
        batch_size=64,
        verbose=False,
    ).generate(x.numpy(), y.numpy())
    assert np.abs(found.final.numpy() - art).max() <= 1e-6


def test_points_keep_budget_and_range(images):
    x, _, _, found = ascend(images, 32, steps=5, step=1.0, start=torch.rand(32, 1, 8, 8))
    for point in (found.x, found.final):
        assert (point - x).abs().max() <= 0.1 + 1e-6
        assert point.min() >= 0
        assert point.max() <= 1


def test_broken_points_are_misclassified(images):
    _, y, _, found = ascend(images, 64, eps=0.3, steps=10, step=0.25)
    wrong = images.logits(found.x).argmax(1) != y
    assert found.broken.any()
    assert torch.equal(wrong, found.broken)


def test_a_linear_model_breaks_exactly_where_the_margin_ends(table):
    """Linf PGD on w·x breaks a sample if and only if |w·x + b| < eps * ‖w‖₁."""
    x, y = table.batch(range(200))
    eps = 0.3
    allowed = Budget(torch.full((1, 4), eps), torch.full((1, 4), -9.0), torch.full((1, 4), 9.0))
    found = ascent(table.logits, x, y, allowed, steps=10, step=0.25)
    margin = (x[:, :2].sum(1)).abs()
    assert torch.equal(found.broken, margin < 2 * eps)


def test_zero_gradients_are_seen(images):
    masked = lambda x: images.logits(x.round())  # noqa: E731 - round has a gradient of zero
    x, y = images.batch(range(16))
    found = ascent(masked, x, y, budget(images, 0.1), steps=2, step=0.5)
    assert found.zero_gradient.all()


def test_tables_touch_mutable_numeric_features_only():
    from torch import nn

    import audit

    x = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    x[:, 2:] = np.eye(2)[np.arange(50) % 2]
    subject = audit.Subject(
        nn.Linear(4, 2),
        x,
        np.arange(50) % 2,
        features=[
            {"name": "a", "columns": [0], "std": 2.0},
            {"name": "b", "columns": [1], "mutable": False},
            {"name": "c", "columns": [2, 3], "kind": "categorical"},
        ],
    )
    allowed = budget(subject, 0.5)
    assert allowed.radius.tolist() == [[1.0, 0.0, 0.0, 0.0]]
    assert (budget(subject, 0.5, free=True).radius > 0).all()


def test_random_numbers_belong_to_the_sample_not_to_the_batch(images):
    context = Context.of(images)
    together = context.evidence(pgd, np.arange(20), eps=0.05, steps=2)["x"]
    apart = context.evidence(pgd, np.array([13, 5]), eps=0.05, steps=2)["x"]
    assert torch.allclose(together[[13, 5]], apart, atol=1e-6)


def test_uniform_is_uniform(images):
    x, y = images.batch(range(100))
    seeds = np.arange(100, dtype=np.uint64)
    numbers = Batch(images, x, y, seeds).uniform(0, (1000,)).numpy()
    other = Batch(images, x, y, seeds).uniform(1, (1000,)).numpy()
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert numbers.mean() == pytest.approx(0.5, abs=0.005)
    assert numbers.var() == pytest.approx(1 / 12, abs=0.002)
    assert abs(np.corrcoef(numbers.ravel(), other.ravel())[0, 1]) < 0.02
    assert abs(np.corrcoef(numbers[0], numbers[1])[0, 1]) < 0.15


def test_restarts_break_no_less(images):
    context = Context.of(images)
    once = context.evidence(pgd, context.samples(100), eps=0.25, steps=2)["broken"]
    thrice = context.evidence(pgd, context.samples(100), eps=0.25, steps=2, restarts=3)["broken"]
    assert not (once & ~thrice).any()


def test_square_breaks_without_gradients(images):
    context = Context.of(images)
    found = context.evidence(square, context.samples(100), eps=0.4, queries=200)["broken"]
    assert found.float().mean() > 0.3


def regression(slope):
    """A linear model: an attack can move its answer by eps times the sum of the slopes, no more."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(100, 4)).astype(np.float32)
    model = torch.nn.Linear(4, 1)
    with torch.no_grad():
        model.weight.fill_(slope)
        model.bias.zero_()
    features = [{"name": f"f{i}", "columns": [i], "mean": 0, "std": 1} for i in range(4)]
    return audit.Subject(
        model, x, rng.normal(size=100), task="regression", tolerance=0.2, features=features
    )


@pytest.mark.parametrize(("slope", "broken"), [(1.0, True), (0.4, False)])
def test_a_value_is_moved_exactly_as_far_as_can_be(slope, broken):
    # 0.1 standard deviations on four features: 0.4 or 0.16, against a tolerance of 0.2
    context = Context.of(regression(slope))
    inside = (context.subject.inputs.abs() < 1).all(1).numpy()  # far from the bounds of the data
    for attack, parameters in ((pgd, {"steps": 5}), (square, {"queries": 100})):
        found = context.evidence(attack, np.arange(100), eps=0.1, **parameters)["broken"].numpy()
        assert (found[inside] == broken).all()


def test_an_attack_on_a_value_leads_away_from_the_truth():
    subject = regression(1.0)
    found = Context.of(subject).evidence(pgd, np.arange(100), eps=0.1, steps=5)
    before = (subject.logits(subject.inputs)[:, 0] - subject.labels).abs()
    after = (subject.logits(found["x"])[:, 0] - subject.labels).abs()
    assert bool((after >= before - 1e-5).all())


def test_a_very_sure_model_is_not_a_masked_one(table):
    """Logits so far apart that the cross-entropy rounds to zero: the margin still has a gradient."""
    x, y = table.batch(range(200))
    allowed = budget(table, 0.3)
    calm = ascent(table.logits, x, y, allowed, steps=10, step=0.25)
    sure = ascent(lambda x: 1e4 * table.logits(x), x, y, allowed, steps=10, step=0.25)
    assert not sure.zero_gradient.any()
    assert torch.equal(sure.broken, calm.broken)


def test_the_first_wrong_point_that_was_met_is_kept():
    """The second lies further: the change that is shown is the smaller one."""
    x, y = torch.zeros(4, 1), torch.zeros(4, dtype=torch.long)
    allowed = Budget(torch.full((1, 1), 0.3), torch.full((1, 1), -1.0), torch.full((1, 1), 1.0))

    def logits(point):
        return torch.cat([torch.zeros_like(point), point - 0.1], 1)

    found = ascent(logits, x, y, allowed, steps=3, step=0.5)
    assert found.broken.all()
    assert found.x.flatten().tolist() == pytest.approx([0.15] * 4)
    assert found.final.flatten().tolist() == pytest.approx([0.3] * 4)

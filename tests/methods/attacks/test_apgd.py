"""Auto-PGD breaks what ART's breaks; its losses and checkpoints are the paper's; bisection is exact."""

import numpy as np
import pytest
import torch
from art.attacks.evasion import AutoProjectedGradientDescent
from art.estimators.classification import PyTorchClassifier

import audit
from audit.checking import Context
from audit.evidence import Store
from audit.methods.attacks.apgd import checkpoints
from audit.methods.attacks.goals import losses
from audit.producers.attacks import apgd, minimum_eps
from audit.producers.budgets import budget


def test_checkpoints_are_the_papers():
    assert checkpoints(100) == [22, 41, 57, 70, 80, 87, 93, 99]


def test_the_ratio_of_logits_is_that_of_the_paper_and_knows_no_scale():
    z = torch.tensor([[3.0, 1.0, 2.0, -1.0]])
    y, goal = torch.tensor([0]), torch.tensor([2])
    # −(z_y − max others) / (z_1st − z_3rd), −(z_y − z_t) / (z_1st − (z_3rd + z_4th) / 2)
    assert float(losses(z, y, "dlr", goal)) == pytest.approx(-(3 - 2) / (3 - 1))
    assert float(losses(z, y, "targeted", goal)) == pytest.approx(-(3 - 2) / (3 - (1 - 1) / 2))
    for kind in ("dlr", "targeted"):
        assert float(losses(50 * z + 7, y, kind, goal)) == pytest.approx(
            float(losses(z, y, kind, goal)), rel=1e-5
        )


@pytest.mark.parametrize(
    ("loss", "arts"), [("ce", "cross_entropy"), ("dlr", "difference_logits_ratio")]
)
def test_it_breaks_what_arts_breaks(images, cnn, loss, arts):
    eps, n = 0.25, 120
    classifier = PyTorchClassifier(
        cnn, torch.nn.CrossEntropyLoss(), (1, 8, 8), 3, clip_values=(0.0, 1.0), device_type="cpu"
    )
    x, y = images.inputs[:n].numpy(), images.labels[:n].numpy()
    one_hot = np.eye(3, dtype=np.float32)[y]
    theirs, ours = [], []
    for seed in range(4):  # one run's luck is a sample or three
        np.random.seed(seed)
        attack = AutoProjectedGradientDescent(
            classifier,
            eps=eps,
            eps_step=2 * eps,
            max_iter=30,
            nb_random_init=1,
            batch_size=n,
            loss_type=arts,
            verbose=False,
        )
        theirs.append(classifier.predict(attack.generate(x, one_hot)).argmax(1) == y)
        context = Context(images, Store(images, seed=seed))
        found = context.evidence(apgd, np.arange(n), ["broken"], eps=eps, steps=30, loss=loss)
        ours.append(~found["broken"].numpy())
    assert 0.05 < np.mean(theirs) < 0.95  # an eps at which something is left and something falls
    assert np.mean(ours) * n <= np.mean(theirs) * n + 1


def test_every_start_after_the_first_is_on_what_still_stands(images):
    context, n = Context.of(images), np.arange(120)
    broken = [
        context.evidence(apgd, n, ["broken"], eps=0.22, steps=3, loss="dlr", restarts=r)["broken"]
        for r in (1, 3)
    ]
    assert bool((broken[1] >= broken[0]).all())
    assert int(broken[1].sum()) > int(broken[0].sum())


@pytest.mark.parametrize("loss", ["ce", "dlr", "targeted"])
def test_the_budget_is_kept_and_what_is_called_broken_is(images, loss):
    n, eps = 100, 0.25
    found = Context.of(images).evidence(apgd, np.arange(n), eps=eps, steps=15, loss=loss)
    x = images.inputs[:n]
    ball = budget(images, eps).around(x)
    assert bool(((found["x"] >= ball.low - 1e-6) & (found["x"] <= ball.high + 1e-6)).all())
    wrong = images.logits(found["x"]).argmax(1) != images.labels[:n]
    assert torch.equal(wrong, found["broken"])


def test_the_smallest_budget_of_a_linear_model_is_its_margin(table):
    n = 60
    context = Context.of(table)
    found = context.evidence(minimum_eps, np.arange(n), highest=4.0, halvings=10, steps=10)["eps"]
    x, std = table.inputs[:n], table.moments.std[0]
    exact = (x[:, 0] + x[:, 1]).abs() / (std[0] + std[1])
    inside = (x[:, :2].abs() < 1.2).all(1) & (exact < 1)  # far from the bounds of the data
    assert int(inside.sum()) > 20
    assert torch.allclose(found[inside], exact[inside], atol=4.0 / 2**9)


def test_accuracy_from_one_search_is_that_of_attacks_at_each_budget(images):
    context, n = Context.of(images), 150
    smallest = context.evidence(minimum_eps, np.arange(n), highest=0.6, halvings=8, steps=20)["eps"]
    for eps in (0.15, 0.3):
        broken = context.evidence(apgd, np.arange(n), eps=eps, steps=20, loss="ce")["broken"]
        assert abs(int((smallest <= eps).sum()) - int(broken.sum())) <= 2


def test_values_are_attacked_too():
    subject = audit.load("zoo:crime-regression")
    broken = Context.of(subject).evidence(apgd, np.arange(80), eps=0.1, steps=10, loss="ce")[
        "broken"
    ]
    assert float(broken.float().mean()) > 0.5

"""DeepFool is exact on linear models and no worse than ART's; Carlini and Wagner only improve on it."""

import numpy as np
import pytest
import torch
from art.attacks.evasion import DeepFool
from art.estimators.classification import PyTorchClassifier

from audit.checking import Context
from audit.producers.attacks import smallest_l2

from .test_budgets import WEIGHT, linear

N = 80


def test_on_a_linear_model_it_is_the_distance_to_the_plane():
    """|w·x + b| / ‖w‖ (Moosavi-Dezfooli et al. 2016, equation 3)."""
    subject = linear()
    found = Context.of(subject).evidence(smallest_l2, np.arange(200), steps=10, nearest=1)
    exact = (subject.inputs.flatten(1) @ WEIGHT).abs() / WEIGHT.norm()
    assert torch.allclose(found["eps"], exact, atol=2e-3)
    assert bool((subject.logits(found["x"]).argmax(1) != subject.labels).all())


def test_it_is_no_longer_than_arts(images, cnn):
    x, y = images.inputs[:N], images.labels[:N]
    classifier = PyTorchClassifier(
        cnn, torch.nn.CrossEntropyLoss(), (1, 8, 8), 3, clip_values=(0.0, 1.0), device_type="cpu"
    )
    made = torch.as_tensor(DeepFool(classifier, batch_size=N, verbose=False).generate(x.numpy()))
    theirs = (made - x).flatten(1).norm(dim=1)
    assert bool((images.logits(made).argmax(1) != y).all())
    context = Context.of(images)
    fool = context.evidence(smallest_l2, np.arange(N), steps=50, nearest=2)["eps"]
    both = context.evidence(smallest_l2, np.arange(N), steps=50, nearest=2, rounds=3, refining=40)[
        "eps"
    ]
    assert float(fool.median()) <= 1.1 * float(theirs.median())
    assert float(both.median()) <= float(theirs.median())
    assert bool((both <= fool + 1e-4).all())


def test_what_it_found_is_broken_and_in_range(images):
    found = Context.of(images).evidence(smallest_l2, np.arange(N), steps=50, nearest=2, rounds=2)
    wrong = images.logits(found["x"]).argmax(1) != images.labels[:N]
    assert torch.equal(wrong, torch.isfinite(found["eps"]))
    assert float(found["x"].min()) >= 0
    assert float(found["x"].max()) <= 1
    length = (found["x"] - images.inputs[:N]).flatten(1).norm(dim=1)
    assert torch.allclose(length[wrong], found["eps"][wrong], atol=1e-5)


def test_values_have_a_smallest_change_too():
    from .test_ascent import regression

    subject = regression(1.0)
    found = Context.of(subject).evidence(smallest_l2, np.arange(50), steps=20, nearest=1)
    inside = (subject.inputs[:50].abs() < 1.5).all(1)
    # a tolerance of 0.2 along a slope of ones in four dimensions: 0.2 / 2
    assert found["eps"][inside].numpy() == pytest.approx(0.1, abs=2e-3)

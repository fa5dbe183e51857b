"""Radii are those of Cohen et al. 2019; of a linear model they are known."""

import numpy as np
import pytest

from audit.checking import Context
from audit.methods.smoothing import radius
from audit.producers.smoothing import smooth_attack, smoothed

from .attacks.test_budgets import WEIGHT, linear


@pytest.mark.parametrize(("sigma", "ceiling"), [(0.25, 0.953), (0.5, 1.906), (1.0, 3.811)])
def test_the_ceiling_is_the_papers(sigma, ceiling):
    assert float(radius(100_000, 100_000, sigma)) == pytest.approx(ceiling, abs=0.001)


def test_no_majority_proves_nothing():
    assert radius([0, 500, 540], 1000, 1.0).tolist() == [0, 0, 0]
    assert float(radius(700, 1000, 1.0)) > 0.3


def test_of_a_linear_model_the_radius_is_the_distance_to_the_plane():
    """The smoothed linear classifier is the classifier itself: Φ⁻¹(p) sigma = distance."""
    subject = linear()
    found = Context.of(subject).evidence(
        smoothed, np.arange(100), sigma=0.5, draws=4000, selecting=100
    )
    exact = ((subject.inputs[:100].flatten(1) @ WEIGHT).abs() / WEIGHT.norm()).numpy()
    right = (found["answer"] == subject.labels[:100]).numpy()
    proven = radius(found["successes"].numpy(), 4000, 0.5)
    assert right.mean() > 0.9
    assert (proven[right] <= exact[right] + 0.02).all()
    far = right & (exact > 0.2) & (exact < 1)
    assert proven[far] == pytest.approx(exact[far], rel=0.25)


def test_the_attack_breaks_what_is_close_and_nothing_that_is_proven():
    subject, eps = linear(), 0.3
    context = Context.of(subject)
    broken = context.evidence(
        smooth_attack,
        np.arange(100),
        ["broken"],
        eps=eps,
        sigma=0.25,
        steps=10,
        draws=8,
        judging=200,
    )["broken"]
    exact = (subject.inputs[:100].flatten(1) @ WEIGHT).abs() / WEIGHT.norm()
    assert bool(broken[exact < 0.2].all())
    assert not bool(broken[exact > 0.4].any())

"""Certified ≤ true ≤ empirical, sample by sample, in both norms; a linear model closes the gap."""

import itertools

import numpy as np
import pytest

import audit
from audit.checking import Context, unpack

from ...methods.attacks.test_budgets import WEIGHT_NORMS, linear


@pytest.mark.parametrize("norm", ["", "_l2"])
def test_the_sandwich(images, norm):
    found = audit.check(f"robustness.certified{norm}", eps=0.2).measure(images)
    certified, robust = (
        found.metric("certified_accuracy", eps=0.2),
        found.metric("robust_accuracy", eps=0.2),
    )
    assert 0 < certified.value <= robust.value < 1 or norm
    assert certified.value <= robust.value
    assert all(v.passed for v in found.validity)
    rows = found.figures[0].spec["layer"][0]["data"]["values"]
    series = {
        name: [r["accuracy"] for r in rows if r["series"] == name]
        for name in ("proven at least", "attacks leave at most")
    }
    below, above = series["proven at least"], series["attacks leave at most"]
    assert len(below) == len(above) > 10
    assert all(b <= a + 1e-9 for b, a in zip(below, above, strict=True))
    assert all(a >= b for a, b in itertools.pairwise(below))


@pytest.mark.parametrize(("norm", "length"), WEIGHT_NORMS)
def test_a_linear_models_proof_and_attack_meet(norm, length):
    subject = linear()
    eps = 0.5 / length
    found = audit.check(f"robustness.certified{norm}", eps=eps).measure(subject)
    certified = found.metric("certified_accuracy", eps=eps)
    assert certified.value == pytest.approx(
        found.metric("robust_accuracy", eps=eps).value, abs=0.001
    )
    assert 0.5 < certified.value < 0.95
    true = (
        np.abs(subject.inputs.flatten(1).numpy() @ [1.0, -2.0, 0.5, 0.0, 3.0, 1.0]) / length >= eps
    )
    bits = unpack(found.per_unit[0])
    chosen = np.array(found.per_unit[0].indices)
    assert (bits == true[chosen]).mean() > 0.98


@pytest.mark.parametrize(("norm", "least"), [("", 0.35), ("_l2", 0.65)])
def test_of_a_convolutional_network_much_is_proven(norm, least):
    """Of three convolutions and a pooling, at the eps of a default audit; by intervals alone nothing."""
    context = Context.of(audit.load("zoo:digits-cnn"))  # one, so that it is attacked once
    found, plain = (
        audit.check(f"robustness.certified{norm}", samples=20, **effort).measure(context).metrics[0]
        for effort in ({}, {"effort": 0})
    )
    assert found.name == "certified_accuracy"
    assert found.value >= least
    assert plain.value == 0


def test_what_has_no_bounds_is_refused_by_name():
    with pytest.raises(audit.NotApplicable, match="LSTM"):
        audit.check("robustness.certified").measure(audit.load("zoo:vowels-lstm"))
    with pytest.raises(audit.NotApplicable, match="tokens"):
        audit.check("robustness.certified").measure(audit.load("zoo:snippets-transformer"))


def test_a_proof_that_an_attack_breaks_settles_nothing(images, monkeypatch):
    """The check can fail: proofs that are too good are contradicted by the attack."""
    from audit.methods.certificates import certified_radius

    real = certified_radius.margins
    monkeypatch.setattr(certified_radius, "margins", lambda *given: real(*given).abs() + 1)
    record = audit.run(
        images, ["robustness.certified"], parameters={"robustness.certified": {"eps": 0.3}}
    )
    check = record.checks[0]
    assert check.validity[0].passed is False
    assert check.state == "broken"

"""Trials: what helps is told from what only hides gradients, and from what does nothing."""

import pytest
import torch

import audit
from audit.checking import pack
from audit.entrypoints import reporter
from audit.judge import Policy, judge
from audit.reports import html

from ...conftest import TinyCNN, image_data, trained


@pytest.fixture(scope="module")
def fragile():
    x, y = image_data(400, seed=1)
    train, labels = image_data(600, seed=2)
    model = trained(TinyCNN(), train, labels)
    return audit.Subject(model, x, y, train=(train, labels), input={"range": (0, 1), "eps": 0.25})


def measured(subject, check, **parameters):
    return audit.check(check, **parameters).measure(subject)


def test_rounding_that_hides_gradients_is_unmasked(fragile):
    found = measured(fragile, "robustness.bit_depth", bits=3)
    assert "It hides gradients" in found.answer
    gain = found.metric("robust_gain", eps=0.25)
    assert gain.low <= 0.1
    assert found.metric("clean_change").value > -0.1


def test_where_the_attack_leaves_nothing_its_fairness_is_beyond_doubt(fragile):
    found = measured(fragile, "robustness.bit_depth", bits=3, eps=0.9)
    assert found.metric("robust_accuracy_after", eps=0.9).value == 0
    assert "It hides gradients" in found.answer
    assert not found.validity


def test_rounding_that_rounds_the_change_away_helps(fragile):
    """One bit: what is below a half stays below it unless it is close."""
    found = measured(fragile, "robustness.bit_depth", bits=1, eps=0.08)
    before, after = (found.metric(f"robust_accuracy_{w}", eps=0.08) for w in ("before", "after"))
    assert after.value >= before.value - 0.1


def test_smoothing_is_attacked_knowing_of_it(fragile):
    found = measured(fragile, "robustness.input_smoothing")
    names = [m.name for m in found.metrics]
    assert names == [
        "robust_gain",
        "clean_change",
        "clean_accuracy_before",
        "robust_accuracy_before",
        "clean_accuracy_after",
        "robust_accuracy_after",
    ]
    gain = found.metric("robust_gain", eps=0.25)
    difference = (
        found.metric("robust_accuracy_after", eps=0.25).value
        - found.metric("robust_accuracy_before", eps=0.25).value
    )
    assert gain.value == pytest.approx(difference)
    assert gain.low <= gain.value <= gain.high


def test_adversarial_training_helps_and_leaves_the_model_alone(fragile):
    before = {k: v.clone() for k, v in fragile.core.state_dict().items()}
    found = measured(fragile, "robustness.adversarial_training", epochs=8, eps=0.15)
    assert found.metric("robust_gain", eps=0.15).value >= 0
    assert "epochs" in found.answer
    assert all(torch.equal(v, before[k]) for k, v in fragile.core.state_dict().items())
    assert not any(p.requires_grad for p in fragile.core.parameters())


def test_training_needs_training_data(images):
    with pytest.raises(audit.NotApplicable, match="training data"):
        measured(images, "robustness.adversarial_training")


def test_refusing_small_margins_costs_coverage_and_avoids_harm(fragile):
    found = measured(fragile, "robustness.rejection", eps=0.2, refused=0.2)
    coverage = found.metric("coverage")
    assert 0.65 < coverage.value < 0.95
    before, after = (found.metric(f"harm_{w}", eps=0.2).value for w in ("before", "after"))
    assert after <= before
    assert found.metric("harm_avoided", eps=0.2).value == pytest.approx(before - after)


def test_the_smoothed_classifiers_proof_stands_beside_its_own_accuracy(fragile):
    found = measured(fragile, "robustness.randomised_smoothing", sigma=0.3, samples=40, draws=400)
    size = audit.check("robustness.worst_case_l2").size(fragile)
    proven = found.metric("smoothed_certified_accuracy", radius=size).value
    left = found.metric("smoothed_robust_accuracy", radius=size).value
    assert 0 < proven <= left <= found.metric("smoothed_accuracy").value
    assert found.validity[0].passed


def test_trials_are_skipped_below_their_profile_and_named_asked(fragile):
    quick = audit.run(fragile, ["robustness.rejection", "robustness.fgsm"], profile="quick")
    assert quick.check("robustness.rejection").state == "met"  # by its name
    every = audit.run(fragile, ["robustness.[abir]*"], profile="quick")
    trial = every.check("robustness.adversarial_training")
    assert trial.state == "untested"
    assert trial.reason == "asked from profile deep on, or by its name"


def test_a_trial_is_shown_where_what_it_would_mend_has_failed(fragile):
    checks = ["robustness.rejection", "robustness.worst_case"]
    for eps, there in ((0.3, True), (0.001, False)):
        parameters = {c: {"eps": eps} for c in checks}
        record = audit.run(fragile, checks, profile="quick", parameters=parameters)
        assert record.check("robustness.rejection").remedies
        assert ('id="robustness.rejection"' in html.render(record)) is there
        told = [c for c in record.checks if there or c.kind == "question"]
        assert sum(record.verdict.counts.values()) == sum(len(c.expectations) for c in told)


def test_a_trial_is_not_held_against_a_baseline(fragile):
    """What a remedied model did before is no promise of the model's."""
    checks = ["robustness.bit_depth", "robustness.fgsm"]
    record = audit.run(fragile, checks)
    better = record.model_copy(deep=True)
    for check in better.checks:
        for bits in check.per_unit:
            good = pack(bits.metric, [True] * bits.n)
            bits.bits = good.bits
    against = judge(record, Policy(), baseline=better)
    held = {c.id: any(e.source == "baseline" for e in c.expectations) for c in against.checks}
    assert (held["robustness.bit_depth"], held["robustness.fgsm"]) == (False, True)


def test_a_trial_that_is_not_told_of_is_no_failure_anywhere(fragile):
    """A remedy that harms a model which needs none: measured, and no outcome of the audit."""
    trial = "robustness.bit_depth"
    checks = [trial, "robustness.worst_case"]
    record = audit.run(fragile, checks, parameters={c: {"eps": 0.05} for c in checks})
    gain = next(m for m in record.check(trial).metrics if m.name == "robust_gain")
    gain.value, gain.low, gain.high, gain.sufficient = -0.5, -0.6, -0.4, {}
    record.check(trial).validity = []
    record = judge(record, Policy())
    assert record.check(trial).state == "failed"
    assert record.verdict.exit_code == 0
    assert record.verdict.counts["failed"] == 0
    assert "<failure" not in reporter("junit").render(record)
    assert f"| `{trial}` | trial |" in reporter("markdown").render(record)
    page = html.render(record)
    assert "Remedies tested but not shown" in page
    assert f"(<code>{trial}</code>)" in page

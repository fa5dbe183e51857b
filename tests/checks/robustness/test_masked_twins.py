"""The masked twins: caught, said so, the number struck; and broken around the masking."""

import pytest

import audit
from audit.reports import html

from ...methods.attacks.test_unmasking import EPS, HOW, masked

ID = "robustness.worst_case"


@pytest.fixture(scope="module")
def plain(cnn):
    return measured(masked(cnn, "plain"))


def measured(subject):
    parameters = {ID: {"eps": EPS, "samples": 100, "steps": 20, "queries": 60, "targets": 1}}
    return audit.run(subject, [ID], parameters=parameters)


def robust(record):
    return next(m for m in record.checks[0].metrics if m.name == "robust_accuracy")


def test_the_plain_twin_is_believed(plain):
    assert plain.checks[0].state == "failed"
    assert all(v.passed for v in plain.checks[0].validity)
    assert "<s>" not in html.render(plain)


@pytest.mark.parametrize("how", [*(h for h in HOW if h != "softmax"), "noise"])
def test_a_masked_twin_is_caught_and_broken(cnn, plain, how):
    record = measured(masked(cnn, how))
    check = record.checks[0]
    assert check.state == "broken"
    assert check.reason.startswith("gradient masking suspected")
    assert "asking suspected" in check.conclusion
    assert robust(record).value <= robust(plain).value + 0.1
    stages, tried, broke = zip(*check.tables[0].rows, strict=True)
    assert any(name.startswith("around masked gradients") for name in stages)
    left = [at - hit for at, hit in zip(tried, broke, strict=True)]
    assert list(tried[1:]) == left[:-1]
    assert left[-1] == round(robust(record).value * 100)
    # Of a model that draws lots too: what PGD broke stays broken, or the cascade were better than it.
    assert stages[0] == "PGD"
    assert any(name.startswith("longer search") for name in stages) == (how != "noise")
    page = html.render(record)
    assert "<s>0." in page or "<s>0 (" in page
    assert "the truth is at most" in page
    clean = next(m for m in check.metrics if m.name == "clean_accuracy")
    assert not html.doubted(clean, check.validity)


def test_a_saturated_twin_is_broken_by_gradients_as_its_plain_twin_is(cnn, plain):
    """Where the cross-entropy rounds to zero, the margin's gradient leads: nothing is masked."""
    record = measured(masked(cnn, "softmax"))
    assert record.checks[0].state == plain.checks[0].state == "failed"
    assert robust(record).value <= robust(plain).value + 0.05


def test_gradient_attacks_alone_would_have_been_fooled(cnn):
    check = measured(masked(cnn, "rounded")).checks[0]
    rows = {name: broke for name, _, broke in check.tables[0].rows}
    by_gradients = sum(b for name, b in rows.items() if name == "PGD" or name.startswith("Auto"))
    around = sum(b for name, b in rows.items() if name.startswith("around"))
    assert around > by_gradients

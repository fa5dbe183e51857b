"""Patches, places, words, one change for all, black boxes: fragile models are told from sound ones."""

import numpy as np
import pytest
import torch
from torch import nn

import audit

from ...conftest import image_data
from ...methods.attacks.test_others import columns, texts


def outcome(subject, check, **parameters):
    record = audit.run(subject, [check], parameters={check: parameters})
    return record.checks[0]


class Average(nn.Module):
    """Bright or dark as a whole: no small patch decides."""

    def forward(self, x):
        z = 40 * (x.mean((1, 2, 3)) - 0.5)
        return torch.stack([-z, z], 1)


class Corner(nn.Module):
    """One pixel decides."""

    def forward(self, x):
        z = 4 * (x[:, 0, 0, 0] - 0.5)
        return torch.stack([-z, z], 1)


def shades():
    y = np.arange(120) % 2
    x = np.where(y == 1, 0.8, 0.2)[:, None, None, None] + np.random.default_rng(0).uniform(
        -0.1, 0.1, (120, 1, 8, 8)
    )
    return x.astype(np.float32), y


@pytest.mark.parametrize(("model", "expected"), [(Average(), "met"), (Corner(), "failed")])
def test_a_patch(model, expected):
    check = outcome(
        audit.Subject(model, *shades(), input={"range": (0, 1)}), "robustness.patch", cover=0.06
    )
    assert check.state == expected, check.reason
    assert all(v.passed for v in check.validity)
    if expected == "failed":
        assert any(f.png for f in check.figures)
        assert {e.severity for e in check.expectations if e.state == "failed"} == {"medium"}


def test_a_place(images):
    fragile = outcome(columns(), "robustness.spatial", degrees=0, shift=0.125, grid=3)
    assert fragile.metrics[1].value == pytest.approx(0.5)
    sound = outcome(
        audit.Subject(Average(), *shades(), input={"range": (0, 1)}), "robustness.spatial"
    )
    assert sound.state == "met"
    assert sound.metrics[1].value == 1.0


def test_a_series_later():
    rng = np.random.default_rng(0)
    x = rng.normal(0, 0.01, (60, 20, 1)).astype(np.float32)
    y = np.arange(60) % 2
    x[np.arange(60), np.where(y == 1, 10, 9), 0] = 1

    class Moment(nn.Module):
        def forward(self, x):
            z = x[:, 10:, 0].amax(1) - x[:, :10, 0].amax(1)
            return torch.stack([-z, z], 1)

    check = outcome(audit.Subject(Moment(), x, y, input={"range": (-1, 1)}), "robustness.spatial")
    assert check.state == "failed"
    assert "in time" in check.answer
    assert any("before and after" in f.title for f in check.figures)


def test_words():
    check = outcome(texts(), "robustness.typos", edits=1)
    assert check.state in ("failed", "met", "undecided", "broken")
    values = [m.value for m in check.metrics if m.name == "robust_accuracy"]
    # One error makes the bad word unknown: a tie, answered 0, which is right; good texts stand.
    assert values == [1.0]
    two = outcome(texts(), "robustness.typos", edits=2)
    assert [m.slice["edits"] for m in two.metrics if m.name == "robust_accuracy"] == [1.0, 2.0]


def test_words_of_a_real_model_are_shown_as_words():
    check = outcome(audit.load("zoo:snippets-textcnn"), "robustness.typos", samples=60)
    assert check.state == "failed"
    assert all(v.passed for v in check.validity)
    assert any(" → " in str(row[2]) for row in check.tables[0].rows)


def test_what_does_not_fit_is_refused_with_a_reason(images, table):
    for check, subject, reason in (
        ("robustness.typos", images, "no words"),
        ("robustness.patch", table, "pictures"),
        ("robustness.spatial", table, "no place"),
        ("robustness.worst_case_l2", table, "length"),
        ("robustness.universal", table, "units"),
        ("robustness.bit_depth", table, "pixels"),
    ):
        with pytest.raises(audit.NotApplicable, match=reason):
            audit.check(check).measure(subject)


def test_one_change_for_all(images):
    fragile = outcome(images, "robustness.universal", eps=0.6)
    sound = outcome(images, "robustness.universal", eps=0.05)
    fooled = {c.metrics[0].slice["eps"]: c.metrics[0].value for c in (fragile, sound)}
    assert fooled[0.6] > 0.4
    assert fooled[0.05] < 0.1
    assert sound.state == "met"
    assert fragile.metrics[1].name == "fooled_by_noise"
    assert fragile.metrics[1].value < fooled[0.6]


def test_who_sees_less_breaks_no_more(images):
    check = outcome(images, "robustness.black_box", eps=0.3, decision_samples=10)
    left = {m.slice["sees"]: m for m in check.metrics if m.slice}
    assert left["scores"].n == check.metrics[-1].n
    assert check.metrics[-1].name == "clean_accuracy"
    assert set(left) == {"gradients", "a surrogate", "scores", "decisions"}
    assert left["decisions"].n == 10
    assert all(v.passed for v in check.validity)
    assert left["gradients"].value <= left["scores"].value + 0.03
    assert left["scores"].value < 0.98


@pytest.mark.parametrize("eps", [0.5, 2.5])
def test_the_l2_cascade(images, eps):
    check = outcome(images, "robustness.worst_case_l2", eps=eps, samples=100)
    assert all(v.passed for v in check.validity)
    values = {m.name: m.value for m in check.metrics if m.slice in ({}, {"eps": eps})}
    assert (values["robust_accuracy"] < 0.05) == (eps == 2.5)
    assert 1.0 < values["median_smallest_eps"] < 2.0
    assert ("length" in check.answer) is True


def test_categories_are_part_of_the_worst_case():
    from ...methods.attacks.test_budgets import people

    check = outcome(people(), "robustness.worst_case", eps=0.25)
    assert "choosing another work" in check.answer
    rows = {r[0]: r[2] for r in check.tables[0].rows}
    assert rows["one other category"] > 50
    shown = next(t for t in check.tables if "changed in a row" in t.title)
    changes = {(r[2], r[3], r[4]) for r in shown.rows}
    assert any(name == "work" and after == "much" for name, _, after in changes)
    assert all(float(a).is_integer() for name, _, a in changes if name == "age")


def test_categories_alone_are_an_adversary():
    from ...methods.attacks.test_budgets import people

    given = people()
    features = [f.model_copy(update={"mutable": f.kind == "categorical"}) for f in given.features]
    subject = audit.Subject(given.core, given.inputs, given.labels, features=features)
    with pytest.raises(audit.NotApplicable, match="no numeric feature is mutable"):
        audit.check("robustness.pgd").measure(subject)
    check = outcome(subject, "robustness.worst_case")
    assert check.answer.startswith("Choosing another work flips")
    young = float((given.labels == 0).float().mean())
    assert check.metrics[1].value == pytest.approx(1 - young, abs=0.01)


def test_the_subject_says_which_change_must_not_matter(cnn):
    x, y = image_data(120, seed=1)
    subject = audit.Subject(cnn, x, y, input={"range": (0, 1), "eps": 0.3})
    check = audit.check("robustness.pgd")
    assert check.size(subject) == 0.3
    assert audit.check("robustness.pgd", eps=0.1).size(subject) == 0.1
    assert audit.check("robustness.worst_case_l2").size(subject) == pytest.approx(0.25 * 0.3 * 8)


def test_words_that_only_the_model_takes_for_similar_decide_nothing():
    subject = audit.load("zoo:snippets-textcnn")
    found = audit.check("robustness.substitutions", samples=40).measure(subject)
    assert [e.gates for e in found.expectations] == [False]
    assert "decides no verdict" in found.guidance["robust_accuracy"].what_happened
    assert audit.check("robustness.typos").gate(subject) == ("medium", True)


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("patch", "a patch on 3 %"),
        ("spatial", "turned by 15 degrees, shifted by 5 %"),
    ],
)
def test_one_size_is_no_curve_but_a_before_and_an_after(images, name, label):
    found = audit.check(f"robustness.{name}", samples=20).measure(images)
    assert "before and under attack" in found.figures[0].title
    text = str(found.figures[0].spec)
    assert "unattacked" in text
    assert label in text


def test_what_is_left_stands_beside_what_was_there_on_the_same_rows(images, table):
    for name, subject in (
        ("certified", images),
        ("black_box", images),
        ("noise", table),
        ("missing_values", None),
        ("corruptions", images),
    ):
        if subject is None:
            from .test_missing_values import subject as made

            subject = made("noise")
        found = audit.check(f"robustness.{name}", samples=20).measure(subject)
        assert found.metric("clean_accuracy").n == 20, name

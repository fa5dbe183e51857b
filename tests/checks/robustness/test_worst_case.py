"""The cascade is never better than any attack in it; who pays is named; masked gradients settle nothing."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

import audit
from audit.checking import unpack

from ...conftest import image_data
from .test_gradient_masking import Rounded

EPS = 0.25


def close(n=240, seed=1):
    return image_data(n, seed=seed)


@pytest.fixture
def measured(images):
    both = ["robustness.pgd", "robustness.worst_case"]
    asked = {"robustness.pgd": {"eps": EPS}, both[1]: {"eps": EPS, "smallest_change": True}}
    return audit.run(images, both, profile="quick", parameters=asked)


def test_a_quick_audit_searches_no_smallest_change(images):
    check = audit.run(images, ["robustness.worst_case"], profile="quick").checks[0]
    assert check.metrics
    assert "median_smallest_eps" not in {m.name for m in check.metrics}
    assert not any("smallest change" in row[0] for row in check.tables[0].rows)


def test_the_worst_case_is_never_better_than_pgd(measured):
    pgd, worst = (measured.check(f"robustness.{n}").per_unit[0] for n in ("pgd", "worst_case"))
    robust = dict(zip(pgd.indices, unpack(pgd), strict=True))
    for index, good in zip(worst.indices, unpack(worst), strict=True):
        assert not good or robust[index]


def test_the_cascade_adds_up(measured):
    check = measured.check("robustness.worst_case")
    rows = check.tables[0].rows
    values = {m.name: m for m in check.metrics if m.slice in ({}, {"eps": EPS})}
    n = values["clean_accuracy"].n
    assert rows[0][1] == round(values["clean_accuracy"].value * n)
    for before, after in itertools.pairwise(rows):
        assert after[1] == before[1] - before[2]
    left = rows[-1][1] - rows[-1][2]
    assert values["robust_accuracy"].value == pytest.approx(left / n)


def test_what_each_attack_broke_is_shown_broken(cnn):
    """Also what only the search without gradients breaks: here all others see none."""
    x, y = close()
    x = 0.5 + (x - 0.5) * 0.2  # closer classes
    subject = audit.Subject(Rounded(cnn), x, y, input={"range": (0, 1)})
    context = audit.checking.Context.of(subject)
    check = audit.check("robustness.worst_case", samples=100, steps=3, queries=300)
    chosen = context.samples(100)
    found = check.run(context, chosen, check.size(subject), points=True)
    (blind,) = (at for at, name in found.ran.items() if name == "search without gradients")
    assert int((found.stage == blind).sum()) > 0
    wrong = subject.logits(found.x).argmax(1) != subject.labels[chosen]
    assert torch.equal(wrong, found.broken)


def test_what_nearly_fell_is_attacked_for_longer():
    """Of a network on which one run of few steps leaves what another finds."""
    subject = audit.load("zoo:mnist-cnn-robust")
    context = audit.checking.Context.of(subject)
    check = audit.check("robustness.worst_case", eps=0.2, samples=200, queries=10)
    outcome = check.outcome(context, 0.2)
    steps = outcome.found.steps(outcome.clean)
    broke = {name: hits for name, _, hits in steps if "nearly" in name}
    assert len(broke) == 1 + 9  # the difference of logits, and each of the other classes
    assert sum(broke.values()) > 0
    found = check.run(context, outcome.samples, 0.2, points=True)
    wrong = subject.logits(found.x).argmax(1) != subject.labels[outcome.samples]
    assert torch.equal(wrong, found.broken)


def test_the_curve_falls_and_passes_through_the_cascade(measured):
    check = measured.check("robustness.worst_case")
    values = check.figures[0].spec["layer"][0]["data"]["values"]
    shares = [row["robust accuracy"] for row in values]
    assert all(a >= b for a, b in itertools.pairwise(shares))
    at = next(row for row in values if row["eps"] == pytest.approx(EPS))
    robust = next(m for m in check.metrics if m.name == "robust_accuracy")
    assert at["robust accuracy"] <= robust.value + 1e-6
    assert at["robust accuracy"] >= robust.value - 0.03


def test_a_fair_attack_is_believed_and_a_masked_one_is_not(cnn):
    x, y = close()
    for model, settled in ((cnn, True), (Rounded(cnn), False)):
        subject = audit.Subject(model, x, y, input={"range": (0, 1)})
        record = audit.run(subject, ["robustness.worst_case"], profile="quick")
        check = record.checks[0]
        gradients = next(v for v in check.validity if v.name == "gradients")
        assert gradients.passed is settled
        if not settled:
            assert check.state == "broken"


def test_who_pays_is_named():
    rng = np.random.default_rng(0)
    group = np.where(np.arange(400) % 2 == 0, "far", "near")
    y = rng.integers(0, 2, 400)
    x = rng.normal(size=(400, 3)).astype(np.float32) * 0.1
    x[:, 0] = (2 * y - 1) * np.where(group == "far", 3.0, 0.05)
    model = nn.Linear(3, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[-1.0, 0, 0], [1.0, 0, 0]]))
        model.bias.zero_()
    features = [{"name": n, "columns": [i], "mean": 0, "std": 1} for i, n in enumerate("abc")]
    subject = audit.Subject(
        model, x, y, sensitive={"group": group}, features=features, input={"eps": 0.1}
    )
    record = audit.run(subject, ["robustness.worst_case"])
    check = record.checks[0]
    gap = {e.slice["by"]: e.state for e in check.expectations if e.metric == "robust_gap"}
    assert gap == {"class": "met", "group": "failed"}
    assert any("group" in f.title for f in record.findings_of(check.id))
    of = {(m.name, m.slice["group"]): m.value for m in check.metrics if "group" in m.slice}
    assert of == {
        ("robust_accuracy_of", "far"): 1.0,
        ("robust_accuracy_of", "near"): 0.0,
        ("clean_accuracy_of", "far"): 1.0,
        ("clean_accuracy_of", "near"): 1.0,
    }


def applicants(n=200):
    """Three categories, each worth one; two in three must be held for a yes. A number adds little."""
    rng = np.random.default_rng(0)
    x = np.zeros((n, 7), dtype=np.float32)
    held = rng.integers(0, 2, (n, 3))
    for i in range(3):
        x[np.arange(n), 2 * i + held[:, i]] = 1
    x[:, 6] = rng.normal(size=n)
    model = nn.Linear(7, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.0] * 7, [0, 2, 0, 2, 0, 2, 0.01]]))
        model.bias.copy_(torch.tensor([0.0, -3.0]))
    features = [
        *(
            {"name": f"c{i}", "columns": [2 * i, 2 * i + 1], "kind": "categorical", "mutable": True}
            for i in range(3)
        ),
        {"name": "score", "columns": [6], "std": 1},
    ]
    y = (held.sum(1) >= 2).astype(int)
    return audit.Subject(model, x, y, features=features), held.sum(1)


def test_no_more_categories_change_than_are_allowed_and_each_number_is_measured():
    subject, held = applicants()
    found = audit.check("robustness.worst_case", eps=0.1, steps=5, queries=20).measure(subject)
    assert "another category of at most 2 of c0, c1, c2" in found.answer
    left = [found.metric("robust_accuracy", eps=0.1, categories=k).value for k in range(3)]
    certain = np.isin(held, (0, 3)).mean()  # whoever holds all or none falls to two changes only
    assert left == pytest.approx([1.0, certain, 0.0])
    one = audit.check("robustness.worst_case", eps=0.1, steps=5, queries=20, changes=1).measure(
        subject
    )
    assert one.metric("robust_accuracy", eps=0.1).value == pytest.approx(certain)
    curve = next(f for f in one.figures if "every size" in f.title)
    drawn = {
        round(r["eps"], 3): r["robust accuracy"] for r in curve.spec["layer"][0]["data"]["values"]
    }
    assert drawn[0.025] == pytest.approx(certain)  # categories alone are enough, whatever eps is


def test_a_model_that_draws_lots_is_not_believed(cnn):
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.core = cnn

        def forward(self, x):
            return self.core(x + 0.5 * torch.randn_like(x))

    x, y = close()
    subject = audit.Subject(Noisy(), x, y, input={"range": (0, 1)})
    record = audit.run(subject, ["robustness.worst_case"], profile="quick")
    check = record.checks[0]
    twice = next(v for v in check.validity if v.name == "the same answer twice")
    assert twice.passed is False
    assert check.state == "broken"


def test_of_a_model_that_draws_lots_the_worst_case_is_no_better_than_pgd(cnn):
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.core = cnn

        def forward(self, x):
            return self.core(x + 0.4 * torch.randn_like(x))

    x, y = close()
    subject = audit.Subject(Noisy(), x, y, input={"range": (0, 1), "eps": 0.1})
    record = audit.run(subject, ["robustness.pgd", "robustness.worst_case"], profile="quick")
    pgd, worst = (record.check(f"robustness.{n}").per_unit[0] for n in ("pgd", "worst_case"))
    robust = dict(zip(pgd.indices, unpack(pgd), strict=True))
    stands = dict(zip(worst.indices, unpack(worst), strict=True))
    assert any(stands.values())
    assert all(robust[i] for i, good in stands.items() if good)


def test_regression_is_measured_by_its_tolerance():
    found = audit.check("robustness.worst_case", samples=100, steps=10, queries=50).measure(
        audit.load("zoo:crime-regression")
    )
    names = {m.name for m in found.metrics}
    assert "within_tolerance" in names
    assert "clean_accuracy" not in names
    assert {m.slice.get("by") for m in found.metrics if m.name == "robust_gap"} == {"black_share"}

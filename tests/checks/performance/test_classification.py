"""Against scikit-learn, and a model that has learnt nothing is found out."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

import audit

from ...conftest import table_data


def test_numbers_are_scikit_learns(images):
    found = audit.check("performance.classification").measure(images)
    predicted = images.logits(images.inputs).argmax(1).numpy()
    y = images.labels.numpy()
    assert found.metric("accuracy").value == pytest.approx((predicted == y).mean())
    assert found.metric("balanced_accuracy").value == pytest.approx(
        balanced_accuracy_score(y, predicted)
    )
    assert found.metric("macro_f1").value == pytest.approx(f1_score(y, predicted, average="macro"))
    for metric in found.metrics:
        assert metric.low <= metric.value <= metric.high


def test_a_model_that_learnt_nothing_does_not_pass(table):
    x, y = table_data(600)
    noise = np.random.default_rng(7).normal(size=x.shape).astype(np.float32)
    swapped = audit.Subject(table.core, x, 1 - y)
    for subject, state in (
        (table, "met"),
        (swapped, "failed"),
        (audit.Subject(table.core, noise, y), "undecided"),
    ):
        record = audit.run(subject, ["performance.classification"])
        assert record.checks[0].state == state
        assert (record.verdict.word == "pass") == (state == "met")

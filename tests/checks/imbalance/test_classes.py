"""A starved class is found; ten good classes of 36 samples are not condemned."""

import numpy as np
from torch import nn

import audit


class Table(nn.Module):
    """Answers what the row says."""

    def forward(self, x):
        return x


def subject(recalls, sizes, seed=0):
    rng = np.random.default_rng(seed)
    k = len(recalls)
    y = np.repeat(np.arange(k), sizes)
    right = rng.random(len(y)) < np.repeat(recalls, sizes)
    answer = np.where(right, y, (y + 1) % k)
    return audit.Subject(Table(), np.eye(k, dtype=np.float32)[answer] * 3, y, output="logits")


def test_a_starved_class_is_found_and_named():
    record = audit.run(subject([0.95, 0.95, 0.1], [400, 400, 60]), ["imbalance.classes"])
    check = record.checks[0]
    assert check.state == "failed"
    assert "The model misses most of class 2" in [f.title for f in record.findings_of(check.id)]
    clean = audit.run(subject([0.95, 0.95, 0.93], [400, 400, 60]), ["imbalance.classes"])
    assert clean.checks[0].state == "met"


def test_ten_good_small_classes_are_never_accused_and_block_no_pass():
    for seed in range(50):
        record = audit.run(subject([0.97] * 10, [36] * 10, seed), ["imbalance.classes"])
        assert record.check("imbalance.classes").state != "failed"
        assert record.verdict.word == "pass"


def test_a_class_that_never_occurs_has_no_recall():
    found = audit.check("imbalance.classes").measure(subject([0.9, 0.9, 0.9], [50, 50, 0]))
    metric = found.metric("recall", **{"class": "2"})
    assert metric.value is None
    assert "never occurs" in metric.reason

"""A starved class is found; ten good classes of 36 samples are not condemned; none is left out."""

import numpy as np
import pytest
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


def judged(subject):
    record = audit.run(subject, ["imbalance.classes"], profile="quick")
    return record.check("imbalance.classes"), record


def states(check, metric):
    return {e.slice.get("class", ""): e.state for e in check.expectations if e.metric == metric}


def test_a_starved_class_is_found_and_named():
    check, record = judged(subject([0.95, 0.95, 0.1], [400, 400, 60]))
    assert check.state == "failed"
    (finding,) = (f for f in record.findings if f.members[0].check == check.id)
    told = {m.metric: m.what_happened for m in finding.members}
    assert finding.title == "The model misses most of class 2"
    assert "2 is found in" in told["recall_gap"]
    assert "of 60 samples" in told["recall_gap"]
    assert judged(subject([0.95, 0.95, 0.93], [400, 400, 60]))[0].state == "met"


def test_ten_good_small_classes_are_never_said_to_fail():
    for seed in range(30):
        found = audit.check("imbalance.classes").measure(subject([0.97] * 10, [36] * 10, seed))
        assert min(m.high for m in found.metrics if m.name == "recall") > 0.5
        assert found.metric("recall_gap").low < 0.3


@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_class_of_few_samples_is_in_the_gap(n):
    check, _ = judged(subject([1, 1, 0], [300, 300, n]))
    gap = next(m for m in check.metrics if m.name == "recall_gap")
    assert gap.value == 1
    assert (gap.limited_by.what, gap.limited_by.n) == ("2", n)
    assert states(check, "recall_gap")[""] in ("failed", "undecided")


def test_a_class_that_never_occurs_is_named_and_leaves_the_gap_undecided():
    check, _ = judged(subject([0.95, 0.95, 0.9], [300, 300, 0]))
    recall = next(m for m in check.metrics if m.name == "recall" and m.slice == {"class": "2"})
    assert recall.value is None
    assert "never occurs" in recall.reason
    (lacking,) = check.left_out
    assert (lacking.what, lacking.how_many) == ("classes", 1)
    assert "(2)" in lacking.why
    assert "1 of 3 classes never occur in the data: 2." in check.answer
    assert states(check, "recall_gap")[""] == "undecided"
    assert check.tables[0].rows[2][:3] == ["2", 0, None]


def test_a_thousand_classes_are_soon_measured():
    found = audit.check("imbalance.classes").measure(subject([1.0] * 1000, [2] * 1000))
    assert sum(m.name == "recall" for m in found.metrics) == 1000
    assert "the worst 40 of 1,000 classes" in found.figures[0].caption

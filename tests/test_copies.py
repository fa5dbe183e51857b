"""Copies within the evaluation data count once; people who merely look alike are many."""

import numpy as np
import pytest
from torch import nn

import audit
from audit.checking import Context


class Said(nn.Module):
    def forward(self, x):
        return x[:, :2]


def accuracy(x, y, **known):
    subject = audit.Subject(Said(), x.astype(np.float32), y, **known)
    record = audit.run(subject, ["performance.classification"], profile="quick")
    metric = next(m for m in record.checks[0].metrics if m.name == "accuracy")
    return metric.high - metric.low, record.subject.notes


def test_copies_do_not_make_an_interval_narrower():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 5)), rng.integers(0, 2, 60)
    once, notes = accuracy(x, y)
    assert not any("cop" in note for note in notes)
    often, notes = accuracy(np.repeat(x, 10, axis=0), np.repeat(y, 10))
    assert once * 0.95 < often < once * 1.15
    assert "540 of 600 samples are copies of another" in " ".join(notes)


def test_one_copy_is_counted_and_changes_little():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 5)), rng.integers(0, 2, 200)
    x[7], y[7] = x[3], y[3]
    width, notes = accuracy(x, y)
    assert "1 of 200 samples is a copy of another" in " ".join(notes)
    x[7] += 1
    assert width == pytest.approx(accuracy(x, y)[0], rel=0.05)


def test_rows_of_few_values_are_alike_by_chance():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 3, size=(400, 4)), rng.integers(0, 2, 400)
    subject = audit.Subject(Said(), x.astype(np.float32), y)
    assert Context.of(subject).clusters() is None


def test_clusters_that_are_given_are_kept():
    x, y = np.tile([[0.5, 1.5]], (20, 1)), np.arange(20) % 2
    people = np.arange(20) // 2
    subject = audit.Subject(Said(), x.astype(np.float32), y, groups=people)
    assert list(Context.of(subject).clusters()) == [str(p) for p in people]
    assert subject.samples.notes_on_copies() == []

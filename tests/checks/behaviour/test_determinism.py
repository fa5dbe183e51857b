"""Dropout that stays on and batch statistics are caught; eval mode is quiet."""

import numpy as np
import pytest
import torch.nn.functional as F
from torch import nn

import audit


class Dropping(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        return self.head(F.dropout(x, 0.3, training=True))


class Proper(Dropping):
    def forward(self, x):
        return self.head(F.dropout(x, 0.3, training=self.training))


def company(track):
    return nn.Sequential(
        nn.Linear(4, 8), nn.BatchNorm1d(8, track_running_stats=track), nn.Linear(8, 2)
    )


def outcome(model):
    rng = np.random.default_rng(0)
    s = audit.Subject(
        model.train(), rng.normal(size=(400, 4)).astype(np.float32), np.arange(400) % 2
    )
    return audit.run(s, ["behaviour.determinism"])


@pytest.mark.parametrize(
    ("model", "found", "when"),
    [
        (Dropping(), "failed", "asked again"),
        (Proper(), "met", ""),
        (company(False), "failed", "in other company"),
        (company(True), "met", ""),
    ],
)
def test_what_was_left_in_training_mode(model, found, when):
    record = outcome(model)
    check = record.checks[0]
    assert check.state == found
    assert all(when in f.what_happened for f in record.findings_of(check.id)[:1])


def test_batch_statistics_do_not_change_when_merely_asked_again():
    check = outcome(company(False)).checks[0]
    metrics = {m.slice["when"]: m.value for m in check.metrics if m.name == "unstable"}
    assert metrics["asked again"] == 0.0
    assert metrics["in other company"] == 1.0


def test_a_random_model_is_measured_the_same_way_twice():
    model = Dropping()
    assert outcome(model).checks[0].metrics == outcome(model).checks[0].metrics


def test_few_people_with_many_rows_each_do_not_make_a_steady_model_unsure():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 4)).astype(np.float32)
    s = audit.Subject(Proper(), x, np.arange(400) % 2, groups=np.arange(400) % 10)
    assert audit.run(s, ["behaviour.determinism"]).checks[0].state == "met"

"""A model that has learnt its training data by heart is told from one that has not."""

import numpy as np
import pytest
import torch
from torch import nn

import audit


class Lookup(nn.Module):
    """Right on the rows that it was shown, else always the first class."""

    def __init__(self, rows, labels):
        super().__init__()
        self.register_buffer("rows", torch.tensor(rows))
        self.register_buffer("labels", torch.tensor(labels))

    def forward(self, x):
        distance = torch.cdist(x, self.rows, compute_mode="donot_use_mm_for_euclid_dist")
        known = distance.min(1).values < 1e-4
        said = torch.where(known, self.labels[distance.argmin(1)], torch.zeros(()).long())
        return nn.functional.one_hot(said, 2).float() * 5


def rows(seed, n=300):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 3)).astype(np.float32), np.arange(n) % 2


@pytest.mark.parametrize(("learnt", "gap"), [(0, 0.5), (1, 0.0)])
def test_the_gap_is_what_was_learnt_by_heart(learnt, gap):
    train, test = rows(0), rows(1)
    known = train
    if learnt:
        known = tuple(np.concatenate(pair) for pair in zip(train, test, strict=True))
    record = audit.run(audit.Subject(Lookup(*known), *test, train=train), ["generalisation.gap"])
    check = record.checks[0]
    assert check.metrics[0].value == pytest.approx(gap)
    assert check.state == ("failed" if gap else "met")


def test_values_are_compared_by_their_error():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 2)).astype(np.float32)
    model = nn.Linear(2, 1)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, 0.0]]))
        model.bias.zero_()
    s = audit.Subject(model, x, x[:, 0] + rng.normal(size=500), train=(x, x[:, 0]))
    gap = audit.check("generalisation.gap").measure(s).metrics[0]
    assert gap.value == pytest.approx(0.8 / 2**0.5, abs=0.06)
    assert gap.unit == "standard deviations"


def test_without_training_data_it_says_so(images):
    with pytest.raises(audit.NotApplicable, match="--train-data"):
        audit.check("generalisation.gap").measure(images)

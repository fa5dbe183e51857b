"""The share of members found is the reference value; a model that remembers is told from others."""

import numpy as np
import pytest
from torch import nn

import audit
from audit.checks.privacy.membership import found_at

from ..generalisation.test_gap import Lookup, rows


class Score(nn.Module):
    def forward(self, x):
        return x[:, :1] + 0 * x[:, 1:]


def test_reference_value_of_the_literature():
    # y = [1, 0, 1, 1, 1, 0], score = [.35, .33, .32, .6, .6, .2]: TPR at FPR 0 is .75
    members = np.array([[0.35, 0], [0.32, 0], [0.6, 0], [0.6, 0]], dtype=np.float32)
    others = np.array([[0.33, 0], [0.2, 0]], dtype=np.float32)
    s = audit.Subject(
        Score(), others, np.ones(2), train=(members, np.ones(4)), task="binary", output="logits"
    )
    found = audit.check("privacy.membership").measure(s)
    assert found.metric("members_found", false_positive_rate=0.01).value == 0.75
    assert found.metric("membership_auc").value == pytest.approx(7 / 8)


@pytest.mark.parametrize("remembers", [True, False])
def test_a_model_that_remembers_fails(remembers):
    train, test = rows(0), rows(1)
    model = Lookup(*train) if remembers else Lookup(*rows(2))
    check = audit.run(audit.Subject(model, *test, train=train), ["privacy.membership"]).checks[0]
    assert check.state == ("failed" if remembers else "met")


def test_false_accusations_stay_at_their_rate():
    rng = np.random.default_rng(3)
    members, others = (rng.normal(size=(2000, 2)).astype(np.float32) for _ in range(2))
    s = audit.Subject(
        Score(),
        others,
        np.ones(2000),
        train=(members, np.ones(2000)),
        task="binary",
        output="logits",
    )
    found = audit.check("privacy.membership").measure(s)
    for rate in (0.01, 0.1, 0.5):
        metric = found.metric("members_found", false_positive_rate=rate)
        assert metric.low <= rate + 0.01
        assert metric.high >= rate - 0.01


def test_few_non_members_do_not_tell_where_one_percent_lies():
    """12 others: one member in thirteen lies above all of them by chance alone, often one in five."""
    rng = np.random.default_rng(0)
    bad = 0
    for _ in range(200):
        members, others = rng.normal(size=1000), rng.normal(size=12)
        metric = found_at(members, others, 0.01)
        assert metric.low <= metric.value <= metric.high
        bad += metric.low > 0.01
    assert bad <= 10


@pytest.mark.parametrize("others", [50, 300, 2000])
@pytest.mark.parametrize("rate", [0.01, 0.1])
def test_the_interval_of_members_found_covers(others, rate):
    """Scores of one law: the truth is the rate itself."""
    rng = np.random.default_rng(1)
    missed = 0
    for _ in range(200):
        metric = found_at(rng.normal(size=500), rng.normal(size=others), rate)
        missed += not metric.low <= rate <= metric.high
    assert missed <= 10


@pytest.mark.parametrize("shift", [0.0, 2.0])
def test_where_the_inputs_alone_tell_members_apart_nothing_is_concluded(shift):
    train, (x, y) = rows(0), rows(1)
    check = audit.run(
        audit.Subject(Lookup(*train), x + np.float32(shift), y, train=train), ["privacy.membership"]
    ).check("privacy.membership")
    assert check.state == ("broken" if shift else "failed")
    assert check.validity[0].passed == (not shift)

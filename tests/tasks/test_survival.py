"""A risk against times and events: Harrell's concordance, and no more."""

import numpy as np
import pytest
import torch
from torch import nn

import audit
from audit.errors import AuditError
from audit.statistics.concordance import pairs, pseudo_values
from audit.tasks.survival import Ranks
from audit.testing import tiny_subject


def people(n=400, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4)).astype(np.float32)
    time = rng.exponential(np.exp(-1.2 * x[:, 0]))
    end = rng.exponential(3.0, n)
    return x, np.stack([np.minimum(time, end), time <= end], 1)


class Risk(nn.Module):
    def __init__(self, slope=1.0):
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(slope))

    def forward(self, x):
        return self.slope * x[:, 0]


def test_it_is_the_concordance_of_lifelines():
    """Ties of risk and of time among them: 0.59079 by lifelines 0.30.3 `concordance_index`."""
    rng = np.random.default_rng(5)
    risk, time = rng.integers(0, 8, 40), rng.integers(1, 12, 40)
    event = rng.random(40) < 0.6
    right, known = pairs(*(torch.tensor(v) for v in (risk, time, event)))
    assert float(right.sum() / known.sum()) == pytest.approx(0.5907859078590786)


def test_its_interval_is_that_of_the_bootstrap():
    x, y = people()
    given = [torch.tensor(v) for v in (x[:, 0], y[:, 0], y[:, 1] == 1)]
    values = pseudo_values(*given)
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(200):
        at = torch.tensor(rng.integers(0, len(x), len(x)))
        right, known = pairs(*(v[at] for v in given))
        draws.append(float(right.sum() / known.sum()))
    assert float(values.std()) / len(x) ** 0.5 == pytest.approx(np.std(draws), rel=0.2)


@pytest.mark.parametrize(("slope", "word"), [(1.0, "pass"), (-1.0, "fail")])
def test_times_and_events_are_read_and_judged(slope, word):
    x, y = people()
    subject = audit.Subject(Risk(slope), x, y)
    assert subject.meta.task == "survival"
    record = audit.run(subject, ["performance.*"])
    assert record.verdict.word == word, record.verdict.reason


def test_a_risk_that_knows_nothing_does_not_pass():
    x, y = people()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 1))
    with torch.no_grad():
        model[0].weight[0, 0] = 0
    assert audit.run(audit.Subject(model, x, y), ["performance.*"]).verdict.word != "pass"


def test_a_group_whose_risks_say_nothing_is_named():
    x, y = people(900)
    group = np.where(np.arange(900) % 2 == 0, "b", "a")
    x[group == "b", 0] = np.random.default_rng(9).normal(size=450)
    subject = audit.Subject(Risk(), x, y, sensitive={"origin": group})
    check = audit.run(subject, ["fairness.*"]).check("fairness.groups")
    assert check.state == "failed"
    of = {m.slice["group"]: m.value for m in check.metrics if m.name == "quality"}
    assert of["a"] > 0.7
    assert abs(of["b"] - 0.5) < 0.06


def test_other_labels_and_several_risks_are_refused():
    x, y = people()
    with pytest.raises(AuditError, match=r"labels have shape \[n\] or hold other numbers"):
        audit.Subject(Risk(), x, y[:, 0], task="survival")
    with pytest.raises(AuditError, match="cannot be read so"):
        audit.Subject(nn.Linear(4, 3), x, y, task="survival")


def test_no_event_at_all_is_told():
    x = torch.randn(40, 3)
    y = torch.stack([x[:, 0].exp(), torch.zeros(40)], 1)
    with pytest.raises(AuditError, match="no event is seen"):
        audit.Subject(nn.Linear(3, 1), x, y, task="survival")


def ordered(n=60):
    generator = torch.Generator().manual_seed(0)
    risk = torch.randn(n, generator=generator).double()
    time = (10 * torch.rand(n, generator=generator)).round().double()  # many are equal
    event = (torch.rand(n, generator=generator) < 0.6).double()
    return risk, torch.stack([time, event], 1)


def test_a_risk_is_ranked_right_where_it_is_against_most_whose_order_is_known():
    risk, y = ordered()
    ranks, (time, event) = Ranks.among(risk, y, y), y.T
    for i in range(len(risk)):
        later = (event[i] == 1) & ((time[i] < time) | ((time == time[i]) & (event != 1)))
        sooner = (event == 1) & ((time < time[i]) | ((time == time[i]) & (event[i] != 1)))
        for other in torch.linspace(-3, 3, 41).double():
            right = (later & (other > risk)).sum() + (sooner & (other < risk)).sum()
            margin = ranks.margins(other[None], torch.tensor([i]))
            assert bool(margin > 0) == bool(2 * right > later.sum() + sooner.sum())


def test_the_margin_is_how_far_a_risk_may_move():
    risk, y = ordered()
    ranks = Ranks.among(risk, y, y)
    margin = ranks.margins(risk)
    for way in (-1, 1):
        assert (ranks.margins(risk + way * 0.999 * margin.clamp_min(0))[margin > 0] > 0).all()
    far = torch.minimum(
        *(ranks.margins(risk + way * 1.001 * margin.clamp_min(0)) for way in (-1, 1))
    )
    held = margin < margin.max()  # as far as all others lie apart: it cannot be ranked otherwise
    assert (far[(margin > 0) & held] <= 0).all()


def test_an_attack_turns_the_ranks_that_a_model_gave_and_a_constant_model_gives_none():
    subject = tiny_subject("tabular", "survival", n=200)
    small, large = (audit.check("robustness.pgd", eps=eps).measure(subject) for eps in (0.001, 3.0))
    assert small.metric("robust_share", eps=0.001).value > 0.7
    assert large.metric("robust_share", eps=3.0).value < 0.1
    assert all(v.passed for v in large.validity if v.name in ("gradients", "loss rose"))

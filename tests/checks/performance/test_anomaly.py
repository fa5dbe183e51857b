"""The area is scikit-learn's; a score turned round is caught."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from torch import nn

import audit


class Norm(nn.Module):
    def __init__(self, sign):
        super().__init__()
        self.sign = sign

    def forward(self, x):
        return self.sign * x.square().sum(1)


def subject(sign=1.0, **known):
    rng = np.random.default_rng(0)
    y = (np.arange(600) % 10 == 0).astype(int)
    x = rng.normal(size=(600, 4)).astype(np.float32) * (1 + y[:, None])
    train = rng.normal(size=(500, 4)).astype(np.float32)
    return (
        audit.Subject(Norm(sign), x, y, train=(train, np.zeros(500)), task="anomaly", **known),
        x,
        y,
    )


def test_the_area_is_the_librarys_and_the_threshold_is_found_on_training_data():
    s, x, y = subject()
    found = audit.check("performance.anomaly").measure(s)
    score = (x**2).sum(1)
    assert found.metrics[0].value == pytest.approx(roc_auc_score(y, score), abs=1e-6)
    fact = next(f for f in s.facts if f.name == "threshold")
    assert fact.source == "inferred"
    assert "training" in fact.reason
    assert found.metric("false_alarm_rate").value == pytest.approx(0.05, abs=0.03)
    assert found.metric("detection_rate").value == pytest.approx(
        float((score[y == 1] >= fact.value).mean()), abs=1e-9
    )


def test_a_given_threshold_is_used():
    s, x, _ = subject(threshold=10.0)
    assert (audit.checking.Context.of(s).predictions().predicted == ((x**2).sum(1) > 10)).all()


@pytest.mark.parametrize(("sign", "state"), [(1.0, "met"), (-1.0, "failed")])
def test_a_score_turned_round_fails(sign, state):
    record = audit.run(subject(sign)[0], ["performance.anomaly"])
    area = next(e for e in record.checks[0].expectations if e.metric == "auroc")
    assert area.state == state


def test_attacks_explanations_and_classes_apply_to_the_decision():
    record = audit.run(
        subject()[0],
        ["robustness.pgd", "interpretability.shap", "imbalance.classes"],
        profile="quick",
    )
    asked = [
        record.check(i) for i in ("robustness.pgd", "interpretability.shap", "imbalance.classes")
    ]
    assert all(c.state != "broken" and c.metrics for c in asked)
    assert record.check("imbalance.classes").metrics[0].slice == {"class": "normal"}

"""A calibrated model passes, the same logits times four fail."""

import numpy as np
import pytest
import torch
from torch import nn

import audit


class Scaled(nn.Module):
    def __init__(self, k: float) -> None:
        super().__init__()
        self.k = k

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.k * x


def subject(k: float, n: int = 2000) -> audit.Subject:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.5, (n, 3)).astype(np.float32)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    y = (rng.random((n, 1)) > p.cumsum(1)).sum(1).clip(0, 2)
    return audit.Subject(Scaled(k), logits, y)


@pytest.mark.parametrize(
    ("k", "state", "lean"),
    [
        (1.0, "met", None),
        (4.0, "failed", "too confident"),
        (0.25, "failed", "not confident enough"),
    ],
)
def test_planted_miscalibration_is_found(k, state, lean):
    record = audit.run(subject(k), ["calibration.reliability"])
    check = record.checks[0]
    assert check.state == state
    temperature = next(m for m in check.metrics if m.name == "temperature")
    assert temperature.low <= k <= temperature.high
    told = check.answer + " ".join(check.conclusions.values())
    if lean:
        assert lean in check.conclusions["failed"]
        assert record.verdict.word == "fail"
    else:
        assert next(m for m in check.metrics if m.name == "calibration_test_p").value > 0.01
    assert "could show" not in told


def test_small_samples_are_not_condemned():
    record = audit.run(subject(1.5, n=60), ["calibration.reliability"])
    assert record.checks[0].state == "undecided"


class Said(nn.Module):
    """Answers with the scores that it is given."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def two(p: np.ndarray, y: np.ndarray, **known: object) -> audit.Subject:
    x = np.stack([np.zeros(len(p)), np.log(p / (1 - p))], 1).astype(np.float32)
    return audit.Subject(Said(), x, y.astype(int), **known)


def failed(subject: audit.Subject) -> set[str]:
    check = audit.run(subject, ["calibration.reliability"]).checks[0]
    return {e.metric for e in check.expectations if e.state == "failed"}


def test_an_error_of_one_class_that_cancels_in_the_confidence_is_found():
    rng = np.random.default_rng(0)
    p = rng.uniform(0.02, 0.98, 2000)
    y = rng.random(2000) < np.clip(p - 0.3 * (1 - abs(2 * p - 1)), 0, 1)
    assert failed(two(p, y)) == {"class_calibration_error"}


def test_an_error_that_cancels_between_groups_is_found():
    rng = np.random.default_rng(0)
    p, group = rng.uniform(0.25, 0.75, 2000), rng.integers(0, 2, 2000)
    y = rng.random(2000) < p + np.where(group == 1, 0.18, -0.18)
    subject = two(p, y, sensitive={"region": np.where(group == 1, "north", "south")})
    assert failed(subject) == {"calibration_error_within"}


def test_an_error_that_cancels_between_classes_is_found():
    rng = np.random.default_rng(0)
    n = 3000
    answer, sure = rng.integers(0, 4, n), rng.uniform(0.55, 0.75, n)
    right = rng.random(n) < sure + np.where(answer % 2 == 0, 0.18, -0.18)
    p = np.repeat((1 - sure)[:, None] / 3, 4, axis=1)
    p[np.arange(n), answer] = sure
    y = np.where(right, answer, (answer + rng.integers(1, 4, n)) % 4)
    subject = audit.Subject(Said(), np.log(p).astype(np.float32), y)
    found = audit.run(subject, ["calibration.reliability"]).checks[0]
    values = {m.name: m.value for m in found.metrics if m.slice in ({}, {"by": "answer"})}
    assert values["calibration_error"] < 0.03
    assert values["calibration_error_within"] == pytest.approx(0.18, abs=0.02)
    assert "calibration_error_within" in failed(subject)


def test_calibrated_models_are_seldom_accused_whatever_hangs_together():
    """People with twenty samples each, all of one label."""
    accused = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        p = rng.uniform(0.55, 0.95, 40)
        y = rng.random(40) < p
        subject = two(np.repeat(p, 20), np.repeat(y, 20), groups=np.repeat(np.arange(40), 20))
        accused += bool(failed(subject))
    assert accused <= 1

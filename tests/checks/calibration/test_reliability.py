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


@pytest.mark.parametrize(("k", "state", "lean"), [
    (1.0, "met", None), (4.0, "failed", "too sure"), (0.25, "failed", "not sure enough"),
])  # fmt: skip
def test_planted_miscalibration_is_found(k, state, lean):
    record = audit.run(subject(k), ["calibration.reliability"])
    check = record.checks[0]
    assert check.state == state
    temperature = next(m for m in check.metrics if m.name == "temperature")
    assert temperature.low <= k <= temperature.high
    if lean:
        assert lean in check.answer
        assert record.verdict.word == "fail"
    else:
        assert "no more than a calibrated model could show" in check.answer


def test_small_samples_are_not_condemned():
    record = audit.run(subject(1.5, n=60), ["calibration.reliability"])
    assert record.checks[0].state != "failed"
    assert any("too small to tell" in e.reason for e in record.checks[0].expectations)

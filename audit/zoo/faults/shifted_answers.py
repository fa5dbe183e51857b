"""Answers that stand beside what they are about."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audit.subject import Subject
from audit.zoo.faults import Fault
from audit.zoo.faults.planting import subject, trained


class Late(nn.Module):
    """A model whose answers come some steps late."""

    def __init__(self, model: nn.Module, steps: int) -> None:
        super().__init__()
        self.model, self.steps = model, steps

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.model(x)
        at = (torch.arange(scores.shape[1]) - self.steps).clamp_min(0)
        return scores[:, at]


def plant(dose: float, seed: int) -> Subject:
    return subject("vowels-turns", Late(trained("vowels-turns", seed), int(dose)))


FAULT = Fault(
    name="shifted-answers",
    what="each answer stands some steps after what it is about",
    term="label alignment error",
    model="vowels-turns",
    plant=plant,
    unit="steps",
    dose=2,
    doses=(0, 1, 2),
    check="performance.regions",
    metric="shift_gain",
)

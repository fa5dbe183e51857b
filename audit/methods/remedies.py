"""What might make a model more robust: layers put before it, and training that goes on."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audit.data import Dataset
from audit.meta import SubjectMeta
from audit.methods.attacks.ascent import ascent
from audit.methods.attacks.budgets import Budget
from audit.methods.training import fit
from audit.subject import Subject
from audit.subject.wrapping import Logits


class Rounded(nn.Module):
    """Inputs at fewer bits (Xu et al. 2018, section III.A)."""

    def __init__(self, bits: int, low: float, high: float) -> None:
        super().__init__()
        self.steps, self.low, self.high = 2**bits - 1, low, high

    def forward(self, x: Tensor) -> Tensor:
        unit = (x - self.low) / (self.high - self.low)
        return (unit * self.steps).round() / self.steps * (self.high - self.low) + self.low


class Smoothed(nn.Module):
    """Each value as the mean of its neighbourhood: 3 along each axis of space, 3 moments of a series."""

    def __init__(self, channels_last: bool) -> None:
        super().__init__()
        self.channels_last = channels_last

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim == 3:
            moved = x.transpose(1, 2)
            return F.avg_pool1d(moved, 3, 1, 1, count_include_pad=False).transpose(1, 2)
        if x.ndim == 5:
            return F.avg_pool3d(x, 3, 1, 1, count_include_pad=False)
        moved = x.permute(0, 3, 1, 2) if self.channels_last else x
        mean = F.avg_pool2d(moved, 3, 1, 1, count_include_pad=False)
        return mean.permute(0, 2, 3, 1) if self.channels_last else mean


@dataclass(frozen=True)
class Training:
    """How training goes on: PGD of `steps` in every batch, for `epochs` at a learning rate."""

    allowed: Budget
    steps: int
    epochs: int
    lr: float


def fine_tuned(subject: Subject, how: Training, most: int) -> nn.Module:
    """The subject's network after a few epochs of adversarial training (Madry et al. 2018).

    It is on at most `most` of its training samples; the subject itself stays as it is.

    Returns:
        what stands in the place of the subject's network, behind its preprocessing.
    """
    part = subject.with_samples(subject.training)

    def build() -> nn.Module:
        model = subject.network.trainable(copy.deepcopy(subject.core))
        return model.requires_grad_(True)

    def adversarial(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return ascent(
            model,
            x,
            y,
            how.allowed,
            steps=how.steps,
            step=2.5 / how.steps,
            start=torch.rand_like(x),
        ).final.detach()

    x, y = part.inputs[:most].float().to(subject.device), part.labels[:most].to(subject.device)
    with torch.enable_grad():
        model = fit(
            build,
            Dataset(x, y),
            SubjectMeta(),
            seed=0,
            epochs=how.epochs,
            lr=how.lr,
            perturb=adversarial,
        )
    assert isinstance(model, Logits)
    return model.core

"""Transfer: examples made on a surrogate that learnt from the model's answers alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audit.data import Dataset
from audit.evidence import Batch, producer
from audit.meta import SubjectMeta
from audit.methods.attacks.ascent import ascent
from audit.methods.attacks.budgets import Norm, budget
from audit.methods.attacks.goals import goal
from audit.methods.training import fit
from audit.outputs import full
from audit.subject import Subject

MOST = 1000  # samples that the surrogate learns from
EPOCHS = 8


class Standardised(nn.Module):
    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor, std: Tensor, body: nn.Module) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        body: Tensor = self.body((x.to(self.mean) - self.mean) / self.std)
        return body


def surrogate(subject: Subject) -> nn.Module:
    """A small network that answers as the subject does on its data (Papernot et al. 2017).

    Two strided convolutions for pictures of eight pixels and more, else two hidden layers; trained on the
    model's decisions for at most `MOST` samples, each with fresh noise in every epoch.
    """
    return subject.derived("surrogate", lambda: taught(subject))


def taught(subject: Subject) -> nn.Module:
    """The network, after its training."""
    x = full(subject.inputs[:MOST]).to(subject.device)
    with torch.no_grad():
        y = torch.cat([subject.logits(part).argmax(1) for part in x.split(subject.batch_size)])
    std = subject.kind.spread(subject)

    def build() -> nn.Module:
        body = architecture(x, subject.channels_last, max(len(subject.classes), 2))
        return Standardised(x.mean(0, keepdim=True), std, body).to(subject.device)

    def noisy(_: nn.Module, inputs: Tensor, __: Tensor) -> Tensor:
        return inputs + 0.1 * std * torch.randn_like(inputs)

    with torch.enable_grad():
        model = fit(
            build,
            Dataset(x, y),
            SubjectMeta(),
            seed=0,
            epochs=EPOCHS,
            batch_size=128,
            perturb=noisy,
        )
    return model.requires_grad_(False)


def architecture(x: Tensor, channels_last: bool, classes: int) -> nn.Module:
    size = x[0].numel()
    if x.ndim != 4 or channels_last or min(x.shape[2:]) < 8:
        return nn.Sequential(
            nn.Flatten(),
            nn.Linear(size, 128),
            nn.ReLU(),
            nn.Linear(128, 64),
            nn.ReLU(),
            nn.Linear(64, classes),
        )
    return nn.Sequential(
        nn.Conv2d(x.shape[1], 16, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * (x.shape[2] // 4) * (x.shape[3] // 4), classes),
    )


@producer(version=1, private=("x",))
def transfer(batch: Batch, *, eps: float, steps: int, norm: Norm = "linf") -> dict[str, Tensor]:
    """PGD on the surrogate; the model is asked once, whether it falls for the result.

    Returns:
        x [n, ...], broken [n].
    """
    subject = batch.subject
    aim = goal(subject, batch.x, batch.y)
    model = surrogate(subject)
    start = batch.uniform(0, batch.x.shape[1:])
    found = ascent(
        model,
        batch.x,
        batch.y,
        budget(subject, eps, norm),
        steps=steps,
        step=2.5 / steps,
        start=start,
    ).final.detach()
    with torch.no_grad():
        x = aim.valid(found)
        already = aim.logits(batch.x).argmax(1) != aim.y
        x = torch.where(already.reshape(-1, *[1] * (x.ndim - 1)), batch.x, x)
        return {"x": x, "broken": aim.logits(x).argmax(1) != aim.y}

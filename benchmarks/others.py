"""Networks that no attack here was tuned on: other shapes, other units, trained in a minute."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

import audit
from audit.checking import Context
from audit.producers.attacks import pgd

GRID = (0.03, 0.05, 0.08, 0.1, 0.15, 0.2, 0.3)
LEFT = 0.4  # of the samples, by a short attack, at the eps of the grid that is taken


class Residual(nn.Module):
    """Two residual blocks between convolutions, an average over places."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.ReLU(),
                nn.Conv2d(width, width, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(width, width, 3, padding=1),
            )
            for _ in range(2)
        )
        self.head = nn.Sequential(
            nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16 * width, 10)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = x + block(x)
        return self.head(x)


def strided() -> nn.Module:
    """A network that has strides instead of pooling."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 5, stride=2, padding=2),
        nn.GELU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.GELU(),
        nn.Flatten(),
        nn.Linear(32 * 49, 10),
    )


def averaging() -> nn.Module:
    """A network that averages."""
    return nn.Sequential(
        nn.Conv2d(1, 12, 5, padding=2),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Conv2d(12, 24, 5, padding=2),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(24 * 49, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )


def perceptron() -> nn.Module:
    """A network without convolutions."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(784, 256),
        nn.ELU(),
        nn.Linear(256, 128),
        nn.Tanh(),
        nn.Linear(128, 10),
    )


def wide() -> nn.Module:
    """A network of few layers and many channels."""
    return nn.Sequential(
        nn.Conv2d(1, 64, 3, padding=1),
        nn.SiLU(),
        nn.Conv2d(64, 64, 3, stride=2, padding=1),
        nn.SiLU(),
        nn.Flatten(),
        nn.Linear(64 * 16, 128),
        nn.SiLU(),
        nn.Linear(128, 10),
    )


Data = tuple[Tensor, Tensor, Tensor, Tensor]  # training inputs and labels, the others


def digits() -> Data:
    """8x8 in [0, 1], scikit-learn's; a third is held back."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x = torch.tensor(x[order] / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)
    y = torch.tensor(y[order])
    return x[600:], y[600:], x[:600], y[:600]


def mnist() -> Data:
    """28x28 in [0, 1], the extract of the reference models."""
    subject = audit.load("zoo:mnist-cnn")
    known = subject.with_samples(subject.training)
    return known.inputs.float(), known.labels, subject.inputs, subject.labels


MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Data], int]] = {
    "residual, average pool, 8x8": (Residual, digits, 25),
    "wide, SiLU, strided, 8x8": (wide, digits, 15),
    "strided, GELU, 28x28": (strided, mnist, 6),
    "average pools, 28x28": (averaging, mnist, 6),
    "perceptron, ELU and tanh, 28x28": (perceptron, mnist, 8),
}


def trained(build: Callable[[], nn.Module], x: Tensor, y: Tensor, epochs: int) -> nn.Module:
    """The network after a few epochs, the same ones in every run."""
    torch.manual_seed(0)
    model = build().train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(epochs):
        for part in torch.randperm(len(x)).split(64):
            optimiser.zero_grad()
            noisy = (x[part] + 0.1 * torch.randn_like(x[part])).clamp(0, 1)
            nn.functional.cross_entropy(model(noisy), y[part]).backward()
            optimiser.step()
    return model.eval()


def other(name: str, samples: int) -> tuple[audit.Subject, float]:
    """A network that was trained here, and the eps of the grid that leaves part of its answers."""
    build, data, epochs = MODELS[name]
    train, labels, x, y = data()
    model = trained(build, train, labels, epochs)
    subject = audit.Subject(
        model,
        x,
        y,
        classes=[str(i) for i in range(10)],
        task="multiclass",
        batch_size=128,
        input={"range": (0, 1)},
    )
    context = Context.of(subject)
    n = context.samples(samples)

    def left(eps: float) -> float:
        return 1 - float(
            context.evidence(pgd, n, ["broken"], eps=eps, steps=10)["broken"].float().mean()
        )

    return subject, min(GRID, key=lambda eps: abs(left(eps) - LEFT))

"""A stack of sigmoids that lets no gradient through."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audit.methods.training import fit
from audit.subject import Subject
from audit.zoo.faults import Fault
from audit.zoo.faults.planting import entry, subject


class Sigmoids(nn.Module):
    """[n, 1, 8, 8] → logits [n, 10]: hidden layers with sigmoids."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(64, 64) for _ in range(depth))
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        for layer in self.layers:
            x = torch.sigmoid(layer(x))
        return self.head(x)


def plant(dose: float, seed: int) -> Subject:
    origin = entry("digits-mlp")
    model = fit(
        lambda: Sigmoids(int(dose)), origin.data()[0], origin.meta, seed=seed, epochs=60, lr=5e-3
    )
    return subject("digits-mlp", model)


FAULT = Fault(
    name="saturated-sigmoids",
    what="many layers of sigmoids, trained: hardly any gradient reaches the first",
    term="vanishing gradient (Hochreiter 1991; Glorot and Bengio 2010)",
    model="digits-mlp",
    plant=plant,
    unit="hidden layers",
    dose=10,
    doses=(1, 2, 4, 6, 8, 10),
    check="training.gradient_flow",
    metric="starved_share",
)

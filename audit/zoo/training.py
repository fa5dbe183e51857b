"""The one training loop of the zoo."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audit.data import Dataset


def fit(
    build: Callable[[], nn.Module],
    data: Dataset,
    *,
    seed: int,
    epochs: int,
    prepare: nn.Module | None = None,
    lr: float = 3e-3,
    weight_decay: float = 1e-3,
    batch_size: int = 64,
) -> nn.Module:
    """Train with AdamW and a one-cycle schedule; the same seed gives the same weights.

    Args:
        prepare: the subject's preprocessing, applied before the network.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build().train()
        x = torch.as_tensor(data.x, dtype=torch.float32)
        if prepare is not None:
            x = prepare(x)
        y = torch.as_tensor(data.y, dtype=torch.long)
        optimiser = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=weight_decay)
        steps = epochs * -(-len(x) // batch_size)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=lr, total_steps=steps)
        for _ in range(epochs):
            for index in torch.randperm(len(x)).split(batch_size):
                loss: Tensor = F.cross_entropy(model(x[index]), y[index])
                optimiser.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimiser.step()
                schedule.step()
    return model.eval()

"""The one training loop: of the zoo, of surrogates, of remedies."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audit.data import Dataset
from audit.meta import SubjectMeta
from audit.subject.wrapping import PreprocessModule

Loss = Callable[[Tensor, Tensor], Tensor]
Perturb = Callable[[nn.Module, Tensor, Tensor], Tensor]


def fit(
    build: Callable[[], nn.Module],
    data: Dataset,
    meta: SubjectMeta,
    *,
    seed: int,
    epochs: int,
    lr: float = 3e-3,
    weight_decay: float = 1e-3,
    batch_size: int = 64,
    loss: Loss = F.cross_entropy,
    perturb: Perturb | None = None,
) -> nn.Module:
    """Train with AdamW and a one-cycle schedule; the same seed gives the same weights.

    Args:
        meta: its preprocessing is applied before the network.
        loss: (outputs, labels) → a scalar.
        perturb: (model, inputs, labels) → inputs trained on instead: adversarial training.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build().train()
        x = torch.as_tensor(data.x)
        if meta.input.preprocess is not None:
            x = PreprocessModule(meta.input.preprocess, x.ndim)(x)
        y = torch.as_tensor(data.y)
        wanted = [p for p in model.parameters() if p.requires_grad]
        optimiser = torch.optim.AdamW(wanted, lr=lr, weight_decay=weight_decay)
        steps = epochs * -(-len(x) // batch_size)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=lr, total_steps=steps)
        for _ in range(epochs):
            for index in torch.randperm(len(x)).split(batch_size):
                inputs, labels = x[index], y[index]
                if perturb is not None:
                    inputs = perturb(model, inputs, labels)
                error = loss(model(inputs), labels)
                optimiser.zero_grad()
                error.backward()
                nn.utils.clip_grad_norm_(wanted, 1.0)
                optimiser.step()
                schedule.step()
    return model.eval()

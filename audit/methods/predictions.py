"""The model's answers."""

from __future__ import annotations

import torch
from torch import Tensor

from audit.evidence import Batch, producer


@producer(version=1)
def predict(batch: Batch) -> dict[str, Tensor]:
    """Logits [n, classes]."""
    with torch.no_grad():
        return {"logits": batch.subject.logits(batch.x).float()}

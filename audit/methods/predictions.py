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


@producer(version=1)
def repeated(batch: Batch) -> dict[str, Tensor]:
    """The same samples asked again, and in other company.

    Returns:
        first, again: [n, classes] the batch, twice; paired: [n, classes] each sample with just one
        other, the next of the batch.
    """
    subject, x = batch.subject, batch.x
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(batch.seeds[0] % 2**31))  # a model that draws lots draws these
        first, again = subject.logits(x), subject.logits(x)
        other = x.roll(-1, 0)
        alone = [subject.logits(torch.stack([a, b]))[:1] for a, b in zip(x, other, strict=True)]
    return {"first": first.float(), "again": again.float(), "paired": torch.cat(alone).float()}

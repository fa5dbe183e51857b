"""The model's answers: those of its own forward, on every row, and what they are worth."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from audit.evidence import Batch, producer
from audit.outputs import full

COMPANIES = 3  # parts that a batch is asked in, shuffled, to see whether answers depend on company


@producer(version=2)
def predict(batch: Batch) -> dict[str, Tensor]:
    """Logits [n, classes]; rows that hold NaN or infinity are no answers (`decided`)."""
    with drawing(batch):
        return {"logits": full(batch.subject.logits(batch.x))}


@producer(version=1)
def in_other_company(batch: Batch) -> dict[str, Tensor]:
    """The same samples in another order and in smaller batches.

    Returns:
        logits: [n, classes] in the order of the batch.
    """
    subject, x = batch.subject, batch.x
    generator = torch.Generator().manual_seed(int(batch.seeds[0] % 2**31))
    order = torch.randperm(len(x), generator=generator)
    with drawing(batch, skip=1):
        parts = [full(subject.logits(x[part.to(x.device)])) for part in order.chunk(COMPANIES)]
    return {"logits": torch.cat(parts)[order.argsort().to(x.device)]}


@producer(version=2)
def repeated(batch: Batch) -> dict[str, Tensor]:
    """The same samples asked twice, in the same company.

    Returns:
        first, again: [n, classes]
    """
    with drawing(batch):
        first, again = batch.subject.logits(batch.x), batch.subject.logits(batch.x)
    return {"first": full(first), "again": full(again)}


@producer(version=1)
def stated_spread(batch: Batch) -> dict[str, Tensor]:
    """The standard deviation that the model itself states of each of its values.

    Returns:
        deviation: [n, values]
    """
    with drawing(batch):
        return {"deviation": full(batch.subject.network.deviations(batch.x))}


@contextmanager
def drawing(batch: Batch, skip: int = 0) -> Iterator[None]:
    """Without gradients; a model that draws lots draws the same ones in every audit."""
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(batch.seeds[0] % 2**31) + skip)
        yield

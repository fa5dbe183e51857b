"""What a subject answers in eight-bit arithmetic. It keeps the name that it had first."""

from __future__ import annotations

import torch
from torch import Tensor

from audit.evidence import Batch, producer
from audit.methods.quantisation import plain_attention, round_layers
from audit.subject import Network, Subject


def int8_copy(subject: Subject) -> Network:
    """The model with its layers in eight bits; made once."""
    return subject.derived("int8", lambda: subject.network.copy(round_layers))


@producer(1, name="audit.methods.quantisation.predict_int8")
def predict_int8(batch: Batch) -> dict[str, Tensor]:
    """Logits [n, classes] (or values [n, 1]) of the eight-bit model."""
    network = int8_copy(batch.subject)
    with torch.no_grad(), plain_attention():
        return {"logits": network.logits(batch.x).float()}

"""The network in eight-bit arithmetic, simulated: what dynamic quantisation does to its answers."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from audit.evidence import Batch, producer
from audit.subject import Subject
from audit.wrapping import Logits

WEIGHTED = (nn.Linear, nn.modules.conv._ConvNd, nn.RNNBase)


def to_int8(tensor: Tensor) -> Tensor:
    """A tensor rounded to 255 levels symmetric about zero, one scale for all of it."""
    scale = tensor.abs().max().clamp_min(torch.finfo(torch.float32).tiny) / 127
    return (tensor / scale).round().clamp(-127, 127) * scale


def to_uint8(tensor: Tensor) -> Tensor:
    """A tensor rounded to 256 levels between its lowest (or 0) and highest value (or 0)."""
    low, high = tensor.min().clamp_max(0), tensor.max().clamp_min(0)
    scale = (high - low).clamp_min(torch.finfo(torch.float32).tiny) / 255
    zero = (-low / scale).round()
    return ((tensor / scale + zero).round().clamp(0, 255) - zero) * scale


def int8_copy(subject: Subject) -> Logits:
    """The model with the weights of its linear, convolutional and recurrent layers in int8.

    Weights have one scale a tensor; the inputs of linear and convolutional layers are in uint8, with one
    scale a batch. The arithmetic of dynamic quantisation (Jacob et al. 2018, section 2; Krishnamoorthi
    2018), in floating point: the same rounding, whatever kernels the machine has.
    """
    if "int8" in subject.copies:
        return subject.copies["int8"]
    model: Logits = copy.deepcopy(subject.model)

    def round_input(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(
            to_uint8(i) if isinstance(i, Tensor) and i.is_floating_point() else i for i in inputs
        )

    with torch.no_grad():
        for module in model.modules():
            if not isinstance(module, WEIGHTED):
                continue
            for name, parameter in module.named_parameters(recurse=False):
                if "weight" in name:
                    parameter.copy_(to_int8(parameter))
            if not isinstance(module, nn.RNNBase):
                module.register_forward_pre_hook(round_input)
    subject.copies["int8"] = model
    return model


def quantisable(subject: Subject) -> bool:
    """Has the network a layer whose weights would be held in int8?"""
    return any(isinstance(m, WEIGHTED) for m in subject.core.modules())


@producer(version=1)
def predict_int8(batch: Batch) -> dict[str, Tensor]:
    """Logits [n, classes] (or values [n, 1]) of the eight-bit model."""
    model = int8_copy(batch.subject)
    with torch.no_grad(), plain_attention():
        return {"logits": model(batch.x).float()}


@contextmanager
def plain_attention() -> Iterator[None]:
    """Transformers by their layers: their fast path hands hooks nested tensors."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)

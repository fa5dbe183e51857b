"""The network in eight-bit arithmetic, simulated: what dynamic quantisation does to its answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

WEIGHTED = (nn.Linear, nn.modules.conv._ConvNd, nn.RNNBase)


def to_int8(tensor: Tensor) -> Tensor:
    """A tensor rounded to 255 levels symmetric about zero, one scale for all of it.

    Example:
        >>> rounded = to_int8(torch.tensor([1.27, 0.014, -0.5]))
        >>> torch.allclose(rounded, torch.tensor([1.27, 0.01, -0.5]))
        True
    """
    scale = tensor.abs().max().clamp_min(torch.finfo(torch.float32).tiny) / 127
    return (tensor / scale).round().clamp(-127, 127) * scale


def to_uint8(tensor: Tensor) -> Tensor:
    """A tensor rounded to 256 levels between its lowest (or 0) and highest value (or 0).

    Example:
        >>> torch.allclose(to_uint8(torch.tensor([2.55, 0.014])), torch.tensor([2.55, 0.01]))
        True
    """
    low, high = tensor.min().clamp_max(0), tensor.max().clamp_min(0)
    scale = (high - low).clamp_min(torch.finfo(torch.float32).tiny) / 255
    zero = (-low / scale).round()
    return ((tensor / scale + zero).round().clamp(0, 255) - zero) * scale


def round_layers(network: nn.Module) -> None:
    """Round the weights of a network in place, and what comes to its layers from now on.

    Those of linear, convolutional and recurrent layers go to int8, one scale a tensor; the inputs of
    linear and convolutional layers to uint8, one scale a batch. The arithmetic of dynamic quantisation
    (Jacob et al. 2018, section 2; Krishnamoorthi 2018), in floating point: the same rounding, whatever
    kernels the machine has. A network with attention is to be asked under `plain_attention`.

    Example:
        >>> net, x = nn.Linear(4, 3), torch.rand(5, 4)
        >>> before = net(x)
        >>> round_layers(net)
        >>> 0 < (net(x) - before).abs().max().item() < 0.05
        True
    """
    for module in network.modules():
        if not isinstance(module, WEIGHTED):
            continue
        for name, parameter in module.named_parameters(recurse=False):
            if "weight" in name:
                with torch.no_grad():
                    parameter.copy_(to_int8(parameter))
        if not isinstance(module, nn.RNNBase):
            module.register_forward_pre_hook(round_inputs)


def round_inputs(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """What comes to a layer, in 256 steps."""
    return tuple(
        to_uint8(i) if isinstance(i, Tensor) and i.is_floating_point() else i for i in inputs
    )


def quantisable(network: nn.Module) -> bool:
    """Has the network a layer whose weights would be held in int8?

    Example:
        >>> quantisable(nn.ReLU()), quantisable(nn.Sequential(nn.Linear(2, 2)))
        (False, True)
    """
    return any(isinstance(m, WEIGHTED) for m in network.modules())


@contextmanager
def plain_attention() -> Iterator[None]:
    """Transformers by their layers: their fast path hands hooks nested tensors."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)

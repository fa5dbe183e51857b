"""Class activation: what a layer held, weighted by how much the score leans on it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from audit.errors import NotApplicable
from audit.methods.attributions.scores import Score

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
EXTRA_TOKENS = 8  # before those of a transformer's patches, at most


def gradcam(
    score: Score,
    x: Tensor,
    target: Tensor,
    layer: nn.Module,
    *,
    extents: tuple[int, ...] | None = None,
) -> Tensor:
    """Grad-CAM (Selvaraju et al. 2017), signed.

    At a convolution's output by captum; at a layer's that answers with tokens by those tokens, laid back
    over the input.

    Args:
        score: (points [n, ...], classes [n]) → [n], with gradients, of a network that `layer` is part of.
        x: [n, ...] samples. target: [n] the class of each that is explained.
        extents: of the samples' space or time: height and width, or length; those after the channels
            where None.

    Returns:
        [n, 1, *extents] the coarse map, enlarged.

    Raises:
        NotApplicable: what the layer answers has no place in the input.

    Example:
        >>> conv = nn.Conv2d(1, 1, 1, bias=False)
        >>> _ = nn.init.ones_(conv.weight)
        >>> x = torch.tensor([[[[2.0, 0.0], [0.0, 0.0]]]])
        >>> light = lambda x, _: conv(x).sum((1, 2, 3))
        >>> gradcam(light, x, torch.tensor([0]), conv).tolist()
        [[[[2.0, 0.0], [0.0, 0.0]]]]
    """
    from captum.attr import LayerAttribution, LayerGradCam

    extents = tuple(x.shape[2:]) if extents is None else extents
    x = x.clone().requires_grad_(True)
    if isinstance(layer, CONVOLUTIONS):
        found = LayerGradCam(score, layer).attribute(
            x, additional_forward_args=(target,), relu_attributions=False
        )
    else:
        found = over_tokens(lambda: score(x, target), layer, len(x), extents)
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(extents)]
    enlarged: Tensor = LayerAttribution.interpolate(found, extents, interpolate_mode=mode)
    return enlarged.detach()


def last_convolution(network: nn.Module, run: Callable[[], object]) -> str | None:
    """Name of the last convolution that runs on the way to the answer, None without one.

    Args:
        run: asks the network for an answer.

    Example:
        >>> net = nn.Sequential(nn.Conv1d(1, 2, 3), nn.ReLU(), nn.Conv1d(2, 2, 3), nn.Flatten())
        >>> last_convolution(net, lambda: net(torch.zeros(1, 1, 8)))
        '2'
    """
    order: list[str] = []
    handles = [
        module.register_forward_hook(lambda *_, name=name: order.append(name))
        for name, module in network.named_modules()
        if isinstance(module, CONVOLUTIONS)
    ]
    try:
        with torch.no_grad():
            run()
    finally:
        for handle in handles:
            handle.remove()
    return order[-1] if order else None


def over_tokens(
    score: Callable[[], Tensor], module: nn.Module, n: int, extents: tuple[int, ...]
) -> Tensor:
    """[n, 1, *grid] Grad-CAM at a layer whose output is [n, tokens, width], or [n, channels, *places].

    Args:
        score: runs the network on the n samples. extents: of the input's space or time.

    Raises:
        NotApplicable: the output is of another form, or its tokens cannot be laid over the input.
    """
    kept: list[Tensor] = []

    def keep(_module: nn.Module, _given: Any, made: Any) -> None:
        kept.append(made[0] if isinstance(made, tuple) else made)

    handle = module.register_forward_hook(keep)
    try:
        total = score().sum()
    finally:
        handle.remove()
    if not kept or not kept[-1].requires_grad:
        raise NotApplicable("no gradient of the answers reaches that layer")
    (gradient,) = torch.autograd.grad(total, kept[-1])
    output = kept[-1].detach()
    if output.ndim == 2 + len(extents) and output.ndim > 3:
        weights = gradient.flatten(2).mean(2)
        return torch.einsum("nc...,nc->n...", output, weights)[:, None]
    if output.ndim == 3 and len(output) != n == output.shape[1]:  # tokens first, as by default
        output, gradient = output.transpose(0, 1), gradient.transpose(0, 1)
    if output.ndim != 3 or len(output) != n:
        raise NotApplicable(
            f"that layer answers with the shape {list(output.shape)}, which has no place in the input"
        )
    grid = grid_of(output.shape[1], extents)
    tokens = (output * gradient.mean(1, keepdim=True)).sum(2)
    return tokens[:, -math.prod(grid) :].reshape(n, 1, *grid)


def grid_of(tokens: int, extents: tuple[int, ...]) -> tuple[int, ...]:
    """The grid of equal patches that tokens stand for.

    Up to `EXTRA_TOKENS` of them stand before it, for the class or for nothing (Darcet et al. 2024).

    Raises:
        NotApplicable: there is none.
    """
    for extra in range(EXTRA_TOKENS + 1):
        count = tokens - extra
        if len(extents) == 1 and count > 0 and extents[0] % count == 0:
            return (count,)
        if len(extents) == 2 and count > 0:
            patch = math.isqrt(extents[0] * extents[1] // count)  # patches are square
            if patch and extents[0] % patch == 0 == extents[1] % patch:
                grid = (extents[0] // patch, extents[1] // patch)
                if math.prod(grid) == count:
                    return grid
    raise NotApplicable(f"that layer's {tokens} tokens cannot be laid over an input of {extents}")

"""What happens inside a network: the range of every unit, the gradient that reaches every layer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from audit.evidence import Batch, producer
from audit.subject import Subject

ACTIVATIONS = frozenset(
    {
        "relu",
        "relu_",
        "relu6",
        "leaky_relu",
        "elu",
        "selu",
        "celu",
        "gelu",
        "silu",
        "mish",
        "hardswish",
        "sigmoid",
        "tanh",
        "hardtanh",
        "softplus",
    }
)
LAYERS = (nn.Linear, nn.modules.conv._ConvNd, nn.Embedding, nn.RNNBase)


class Watcher(TorchFunctionMode):
    """Sees what every activation returns, whether it is called as a module or as a function."""

    def __init__(self, core: nn.Module) -> None:
        super().__init__()
        self.seen: list[tuple[str, Tensor]] = []
        self.inside: list[str] = []
        self.channels_second = False  # of what the last layer with weights returned
        self.handles = []
        for name, module in core.named_modules():
            self.handles.append(module.register_forward_pre_hook(self.enter(name)))
            self.handles.append(module.register_forward_hook(self.leave))

    def enter(self, name: str) -> Any:
        def hook(module: nn.Module, _: Any) -> None:
            self.inside.append(name)
            if isinstance(module, LAYERS):
                self.channels_second = isinstance(module, nn.modules.conv._ConvNd)

        return hook

    def leave(self, *_: Any) -> None:
        self.inside.pop()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if name in ACTIVATIONS and isinstance(result, Tensor) and result.ndim > 1:
            units = result.detach()
            if result.ndim > 2:  # every unit, over all positions
                units = units.movedim(1 if self.channels_second else -1, -1).flatten(1, -2)
            else:
                units = units[:, None]
            where = self.inside[-1] if self.inside else ""
            self.seen.append((f"{len(self.seen) + 1}: {where or 'model'}", units))
        return result


@contextmanager
def watching(core: nn.Module) -> Iterator[Watcher]:
    """Watch the network's layers for as long as the block runs, and leave no hook behind."""
    watcher = Watcher(core)
    try:
        with watcher:
            yield watcher
    finally:
        for handle in watcher.handles:
            handle.remove()


@producer(version=1)
def unit_ranges(batch: Batch) -> dict[str, Tensor]:
    """Highest and lowest value of every unit after every activation, over the batch.

    Returns:
        'high LAYER', 'low LAYER': [1, units], in the order of the calls.
    """
    with torch.no_grad(), watching(batch.subject.core) as watcher:
        batch.subject.logits(batch.x)
    found = {}
    for name, units in watcher.seen:
        found[f"high {name}"] = units.amax((0, 1))[None].float()
        found[f"low {name}"] = units.amin((0, 1))[None].float()
    return found


def layers(subject: Subject) -> list[str]:
    """Names of the layers with weights, in the order in which they run first."""
    order: list[str] = []
    handles = [
        module.register_forward_hook(lambda *_, name=name: order.append(name))
        for name, module in subject.core.named_modules()
        if isinstance(module, LAYERS)
    ]
    try:
        with torch.no_grad():
            subject.logits(subject.batch([0, 1])[0])
    finally:
        for handle in handles:
            handle.remove()
    return list(dict.fromkeys(order))


def followed_back(subject: Subject) -> bool:
    """Can the answers be followed back to the outputs of every layer?"""
    seen: list[bool] = []

    def hook(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        seen.append(torch.is_grad_enabled())
        tensor = output[0] if isinstance(output, tuple) else output
        if isinstance(tensor, Tensor) and tensor.is_floating_point() and not tensor.requires_grad:
            tensor.requires_grad_(True)

    handles = [
        subject.core.get_submodule(name).register_forward_hook(hook) for name in layers(subject)
    ]
    try:
        x = subject.batch([0, 1])[0].clone()
        with torch.enable_grad():
            answers = subject.logits(x.requires_grad_(True) if x.is_floating_point() else x)
    finally:
        for handle in handles:
            handle.remove()
    return all(seen) and answers.requires_grad


def answers_and_outputs(batch: Batch) -> tuple[Tensor, dict[str, list[Tensor]]]:
    """The scores, and every layer's outputs on the way to them, all with gradients."""
    subject = batch.subject
    kept: dict[str, list[Tensor]] = {}
    handles = []

    def keep(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            tensor = output[0] if isinstance(output, tuple) else output
            if isinstance(tensor, Tensor) and tensor.is_floating_point():
                if not tensor.requires_grad:
                    tensor.requires_grad_(True)
                kept.setdefault(name, []).append(tensor)

        return hook

    for name in layers(subject):
        handles.append(subject.core.get_submodule(name).register_forward_hook(keep(name)))
    try:
        x = batch.x.clone()
        if x.is_floating_point():
            x.requires_grad_(True)
        return subject.logits(x), kept
    finally:
        for handle in handles:
            handle.remove()


@producer(version=2)
def layer_flow(batch: Batch) -> dict[str, Tensor]:
    """How much of the answer's gradient reaches every layer, and how large its outputs grow.

    Returns:
        'gradient LAYER': [n] Euclidean norm of the gradient of the answered score (log-odds, or the
            value) to the layer's outputs.
        'largest LAYER': [n] largest absolute output.
    """
    scores, kept = answers_and_outputs(batch)
    subject = batch.subject
    target = subject.task.to_explain(subject, scores.detach())
    total = subject.task.explained(subject, scores, target).sum()
    flat = [tensor for tensors in kept.values() for tensor in tensors]
    gradients = iter(torch.autograd.grad(total, flat, allow_unused=True))
    n = len(batch.x)
    found = {}
    for name, tensors in kept.items():
        if all(len(tensor) != n for tensor in tensors):  # positions, the same for all samples
            for _ in tensors:
                next(gradients)
            continue
        square = torch.zeros(n, device=batch.x.device)
        largest = torch.zeros(n, device=batch.x.device)
        for tensor in tensors:
            gradient = next(gradients)
            if len(tensor) != n:
                continue  # batch in another axis
            if gradient is not None:
                square += gradient.flatten(1).square().sum(1)
            largest = torch.maximum(largest, tensor.detach().abs().flatten(1).amax(1))
        found[f"gradient {name}"] = square.sqrt()
        found[f"largest {name}"] = largest
    return found

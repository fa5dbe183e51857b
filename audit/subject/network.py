"""The user's model as it is audited: a frozen copy, how it is called, and what it answers."""

from __future__ import annotations

import copy
import hashlib
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from audit.errors import AuditError
from audit.outputs import SPREADS, answered
from audit.packing import Feed
from audit.subject.wrapping import Logits, OutputForm


class Network:
    """A model in eval mode whose weights need no gradients, with the preprocessing before it.

    Args:
        core: the model, `frozen` on the device.
        preprocess: what is done before to inputs in the user's units.
        form: how what the core returns is to be read.
        feed: how a core that takes several inputs is asked.

    Attributes:
        model: preprocessing and core, answering with logits [n, classes] or values [n, 1].
        dtype: of the core's weights, in which it computes.
    """

    def __init__(
        self,
        core: nn.Module,
        preprocess: nn.Module,
        device: torch.device,
        form: OutputForm,
        feed: Feed | None = None,
    ) -> None:
        self.core, self.device, self.form, self.feed = core, device, form, feed
        self.preprocess = preprocess.to(device)
        self.model = Logits(self.core, self.preprocess, form, feed)
        self.dtype = self.model.dtype
        self._unanswered: list[Tensor] | None = None  # while somebody collects them
        self._passes: list[int] | None = None  # forward and backward, while somebody counts

    # What it answers

    def prepared(self, x: Tensor) -> Tensor:
        """A batch as the core gets it: preprocessed, in its precision."""
        return self.model.prepared(x)

    def raw(self, x: Tensor) -> Any:
        """What the core itself returns for a batch."""
        return self.model.asked(self.prepared(x))

    def logits(self, x: Tensor) -> Tensor:
        """Logits [n, classes] for a batch on any device; gradients flow to `x`."""
        with self._recurrent_backward():
            answers: Tensor = self.model(x.to(self.device))
        if self._passes is not None:
            count_passes(self._passes, answers)
        if self._unanswered is not None:
            lost = ~answered(answers.detach())
            if bool(lost.any()):
                self._unanswered.append(lost.cpu())
        return answers

    @property
    def states_spread(self) -> bool:
        """Does it say how sure it is of each of its values?"""
        return self.form.output in SPREADS

    def deviations(self, x: Tensor) -> Tensor:
        """[n, k] the standard deviation that it states of each of its values."""
        return self.model.deviations(x.to(self.device))

    @contextmanager
    def collecting_unanswered(self) -> Iterator[list[Tensor]]:
        """Of each call that was answered with NaN or infinity, which rows were."""
        before, self._unanswered = self._unanswered, []
        try:
            yield self._unanswered
        finally:
            self._unanswered = before

    @contextmanager
    def counting(self) -> Iterator[list[int]]:
        """How many samples were passed forward and backward, of each of its calls meanwhile."""
        before, self._passes = self._passes, [0, 0]
        try:
            yield self._passes
        finally:
            self._passes = before

    @contextmanager
    def _recurrent_backward(self) -> Iterator[None]:
        """A recurrent network in eval mode is differentiated by plain CUDA; cuDNN refuses."""
        if self.device.type == "cuda" and any(
            isinstance(m, nn.RNNBase) for m in self.core.modules()
        ):
            with torch.backends.cudnn.flags(enabled=False):
                yield
        else:
            yield

    # Other networks that are made of it

    def read_as(self, form: OutputForm) -> Network:
        """The same network, what it returns being read in this form."""
        return Network(self.core, self.preprocess, self.device, form, self.feed)

    def with_core(self, core: nn.Module, before: nn.Module | None = None) -> Network:
        """Another core in the place of this one's, called and read alike.

        Args:
            before: done to inputs, in their units, before anything else.

        Raises:
            AuditError: the core's `eval()` raised.
        """
        preprocess = self.preprocess if before is None else nn.Sequential(before, self.preprocess)
        return Network(frozen(core, self.device), preprocess, self.device, self.form, self.feed)

    def copy(self, change: Callable[[nn.Module], None]) -> Network:
        """A copy, after `change` did to its core's weights what it does (rounded them, drew them anew)."""
        core = copy.deepcopy(self.core)
        with torch.no_grad():
            change(core)
        return self.with_core(core)

    def trainable(self, core: nn.Module) -> Logits:
        """A module that is called and read as this network is, around a core that is to be trained.

        Nothing of it is this network's own: training sets modes.
        """
        return Logits(core, copy.deepcopy(self.preprocess), self.form, self.feed)

    # Its digests

    def weights_digest(self) -> str:
        """sha256 of weights and buffers, with their names."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.core.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor_bytes(tensor))
        return digest.hexdigest()

    def sources(self) -> Iterator[str]:
        """The code of each class in it, or its name where there is no code to be had."""
        for cls in sorted({type(m) for m in self.core.modules()}, key=lambda c: c.__qualname__):
            try:
                yield inspect.getsource(cls)
            except (OSError, TypeError):
                yield f"{cls.__module__}.{cls.__qualname__}"


def copied(model: nn.Module) -> nn.Module:
    """A copy of the model: the user goes on training the model itself, perhaps.

    Raises:
        AuditError: it cannot be copied.
    """
    unseen = next((name for name, p in model.named_parameters() if is_lazy(p)), None)
    if unseen is not None:
        raise AuditError(
            f"The model is lazy and has seen no input yet (`{unseen}` has no shape), so that it cannot be "
            "trained; pass a batch through it, load its weights, and audit it then."
        )
    # What was computed and kept (old weight_norm does) refuses to be copied; its numbers do not.
    computed = {
        id(value): value.detach().clone()
        for module in model.modules()
        for value in vars(module).values()
        if isinstance(value, Tensor) and not value.is_leaf
    }
    if isinstance(model, nn.DataParallel):
        model = model.module
    try:
        with torch.no_grad():  # so that the copies of a program's weights are leaves
            return uncompiled(copy.deepcopy(model, dict(computed)))
    except Exception as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise AuditError(
            f"The model cannot be copied ({said[:200]}); audit it from a saved state_dict."
        ) from error


def uncompiled(model: nn.Module) -> nn.Module:
    """The model without torch.compile: it answers alike, and hooks and gradients need no compiler."""
    if is_compiled(model):
        return uncompiled(model._modules["_orig_mod"] or model)
    for module in model.modules():
        for name, child in module._modules.items():
            if child is not None and is_compiled(child):
                module._modules[name] = child._modules["_orig_mod"]
    return model


def is_compiled(module: nn.Module) -> bool:
    """Did torch.compile put it around another? Its class is not named: importing it takes a second."""
    return type(module).__name__ == "OptimizedModule" and "_orig_mod" in module._modules


def frozen(core: nn.Module, device: torch.device) -> nn.Module:
    """The module on the device, in eval mode; gradients flow to its inputs alone.

    Raises:
        AuditError: its `eval()` raised.
    """
    core = evaluating(core.to(device))
    for parameter in core.parameters():
        parameter.requires_grad_(False)
    return core


def evaluating(model: nn.Module) -> nn.Module:
    """The model after its own `eval()`, which may do more than set a mode.

    It may merge adapters or fold parametrisations. Programs of torch.export refuse it, and have one mode
    only.

    Raises:
        AuditError: `eval()` raised.
    """
    if not any(m.training for m in model.modules()):
        return model
    try:
        with torch.no_grad():
            model.eval()
    except NotImplementedError:
        for module in model.modules():
            module.training = False
    except Exception as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise AuditError(
            f"The model's eval() raised «{said[:200]}»; mend it, or hand over the model after eval()."
        ) from error
    return model


def tensor_bytes(tensor: Tensor) -> bytes:
    """What a tensor holds, for a digest."""
    if tensor.is_quantized:
        tensor = tensor.int_repr()
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""


def count_passes(passes: list[int], answers: Tensor) -> None:
    """Add the samples that were just answered, and those whose gradient will be asked for."""
    n = len(answers)
    passes[0] += n
    if answers.requires_grad:

        def backward(_: Tensor) -> None:
            passes[1] += n

        answers.register_hook(backward)

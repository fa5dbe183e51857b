"""The network as it is audited: preprocessing before it, logits after it, eval mode throughout."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from audit.errors import AuditError
from audit.inference import probe
from audit.meta import Preprocess, SubjectMeta
from audit.outputs import select_output
from audit.scores import distance

Module = TypeVar("Module", bound=nn.Module)


class PreprocessModule(nn.Module):
    """`Preprocess` as a differentiable module."""

    def __init__(self, spec: Preprocess, ndim: int, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.spec, self.dtype = spec, dtype
        self.channels_last = spec.channels == "last" and ndim == 4
        self.mean: Tensor | None
        self.std: Tensor | None
        shape = (1, -1, 1, 1) if ndim == 4 else (1,) * (ndim - 1) + (-1,)
        for name in ("mean", "std"):
            values = getattr(spec, name)
            tensor = None if values is None else torch.tensor(values, dtype=dtype).reshape(shape)
            self.register_buffer(name, tensor, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(self.dtype)
        if self.channels_last:
            x = x.permute(0, 3, 1, 2)
        if self.spec.scale is not None:
            x = x * self.spec.scale
        if self.mean is not None:
            x = x - self.mean
        if self.std is not None:
            x = x / self.std
        if self.spec.resize is not None:
            x = F.interpolate(x, size=self.spec.resize, mode="bilinear", align_corners=False)
        return x


SCORED = ("logits", "log_probabilities", "probabilities", "sigmoid")
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "probabilities": lambda z: torch.softmax(z, 1),
    "log_probabilities": lambda z: torch.log_softmax(z, 1),
    "sigmoid": torch.sigmoid,
}


class _Activations(TorchFunctionMode):
    """Remembers what went into each softmax and sigmoid of a call.

    The logarithm of a saturated softmax has no gradient; its input has. Sees modules and functions
    alike, in any eager model.
    """

    NAMES = frozenset({"softmax", "log_softmax", "sigmoid"})

    def __init__(self) -> None:
        super().__init__()
        self.sources: list[Tensor] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in self.NAMES:
            source = args[0] if args else (kwargs or {}).get("input")
            if isinstance(source, Tensor):
                self.sources.append(source)
                # What is written into later must not be what the gradient is computed from.
                return func(*args, **(kwargs or {})).clone()
        return func(*args, **(kwargs or {}))

    def behind(self, scores: Tensor, activation: Callable[[Tensor], Tensor]) -> Tensor | None:
        """The input that the activation makes these very scores of, on every row; None: none does.

        A softmax over another axis, and scores changed after it, are found out so.
        """
        for source in reversed(self.sources):
            if source.numel() == scores.numel() and source.dtype == scores.dtype:
                shaped = source.reshape(scores.shape)
                near = 4 * torch.finfo(scores.dtype).eps
                made = activation(shaped.detach())
                if torch.allclose(made, scores.detach(), rtol=near, atol=near, equal_nan=True):
                    return shaped
        return None


class Network(nn.Module):
    """The user's own function: the preprocessing that was given, then the model, untouched.

    Inputs are cast to the precision of the model's weights.
    """

    def __init__(self, core: nn.Module, preprocess: nn.Module) -> None:
        super().__init__()
        self.core, self.preprocess = core, preprocess
        self.dtype = precision(core)
        self.training = False

    def prepared(self, x: Tensor) -> Tensor:
        """A batch as the model gets it."""
        x = self.preprocess(x.clone())  # a network may write in what it is given
        return x.to(self.dtype) if x.is_floating_point() else x

    def forward(self, x: Tensor) -> Any:
        return self.core(self.prepared(x))


def precision(model: nn.Module) -> torch.dtype:
    """The floating type of the model's weights; torch's default where it has none."""
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
            return tensor.dtype
    return torch.get_default_dtype()


class Logits(Network):
    """The network with its preprocessing, answering with logits [n, classes] whatever it returns.

    One-output binary models answer (0, z): their softmax is the sigmoid. Scores with a threshold answer
    (0, score − threshold). Values are answered as they are, [n, 1]. A softmax or sigmoid at the end is looked
    behind only in calls whose returned numbers it reproduces; elsewhere those are inverted.
    """

    def __init__(
        self, core: nn.Module, preprocess: nn.Module, meta: SubjectMeta, threshold: float | None
    ) -> None:
        super().__init__(core, preprocess)
        self.output, self.output_index = meta.output, meta.output_index
        self.threshold = threshold

    def forward(self, x: Tensor) -> Tensor:
        prepared = self.prepared(x)
        if self.output == "reconstruction":
            returned = select_output(self.core(prepared.clone()), self.output_index)
            logits = distance(returned, prepared)
        elif self.output in ACTIVATIONS:
            with _Activations() as seen:
                returned = select_output(self.core(prepared), self.output_index)
            logits = seen.behind(returned, ACTIVATIONS[self.output])
            if logits is None:
                logits = self.invert(returned)
        else:
            logits = select_output(self.core(prepared), self.output_index)
        if logits.dtype in (torch.float16, torch.bfloat16):
            logits = logits.float()
        if len(x) == 1 and (logits.ndim == 0 or len(logits) != 1):
            return self(x.expand(2, *x.shape[1:]))[:1]  # a `.squeeze()` took the sample's axis away
        if logits.ndim == 1:
            logits = logits[:, None]
        if self.threshold is not None:
            logits = logits - self.threshold
        if logits.shape[1] == 1 and (self.output in SCORED or self.threshold is not None):
            logits = torch.cat([torch.zeros_like(logits), logits], 1)
        return logits

    def invert(self, scores: Tensor) -> Tensor:
        """Logits from probabilities, where no softmax or sigmoid made them as they are."""
        tiny = torch.finfo(scores.dtype).tiny
        if self.output == "probabilities":
            return scores.clamp_min(tiny).log()
        if self.output == "sigmoid":
            return scores.clamp_min(tiny).log() - (1 - scores).clamp_min(tiny).log()
        return scores.clamp_min(math.log(tiny))  # −inf is the logarithm of a probability of 0


@contextmanager
def computing_in(dtype: torch.dtype) -> Iterator[None]:
    """New tensors are of the model's own precision: a double's gradients and bounds stay doubles."""
    before = torch.get_default_dtype()
    wanted = torch.float64 if dtype == torch.float64 else torch.float32
    if before == wanted:  # setting it reads the stack, each time
        yield
        return
    torch.set_default_dtype(wanted)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def evaluating(model: Module) -> Module:
    """The model after its own `eval()`, which may do more than set a mode: merge adapters, fold
    parametrisations. Programs of torch.export refuse it, and have one mode only.

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


def accepts(model: nn.Module, x: Tensor) -> bool:
    try:
        probe(model, x)
    except AuditError:
        return False
    return True

"""The network as it is audited: preprocessing before it, logits after it, eval mode throughout."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from audit.errors import AuditError
from audit.inference import probe, select_output
from audit.meta import Preprocess, SubjectMeta

Module = TypeVar("Module", bound=nn.Module)


class PreprocessModule(nn.Module):
    """`Preprocess` as a differentiable module."""

    def __init__(self, spec: Preprocess, ndim: int) -> None:
        super().__init__()
        self.spec = spec
        self.channels_last = spec.channels == "last" and ndim == 4
        self.mean: Tensor | None
        self.std: Tensor | None
        shape = (1, -1, 1, 1) if ndim == 4 else (1,) * (ndim - 1) + (-1,)
        for name in ("mean", "std"):
            values = getattr(spec, name)
            tensor = None if values is None else torch.tensor(values).reshape(shape)
            self.register_buffer(name, tensor, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(torch.get_default_dtype())
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


class _LastActivation(TorchFunctionMode):
    """Remembers what went into the softmax or sigmoid whose result the model returns.

    The logarithm of a saturated softmax has no gradient; its input has. Catches modules and
    functions alike, in any eager model.
    """

    NAMES = frozenset({"softmax", "log_softmax", "sigmoid"})

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[Tensor, Tensor]] = []

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if getattr(func, "__name__", "") in self.NAMES and isinstance(result, Tensor):
            source = args[0] if args else (kwargs or {}).get("input")
            if isinstance(source, Tensor):
                self.seen.append((result, source))
        return result

    def input_of(self, output: Tensor) -> Tensor | None:
        for result, source in reversed(self.seen):
            if result is output and source.shape == output.shape:
                return source
        return None


class Logits(nn.Module):
    """The network with its preprocessing, answering with logits [n, classes] whatever it returns.

    One-output binary models answer (0, z): their softmax is the sigmoid. Anomaly scores answer (0,
    score − threshold). Regression answers its value, [n, 1].
    """

    def __init__(self, core: nn.Module, preprocess: nn.Module, meta: SubjectMeta) -> None:
        super().__init__()
        self.core, self.preprocess = core, preprocess
        self.output, self.output_index = meta.output, meta.output_index
        self.threshold = meta.threshold if meta.task == "anomaly" else None

    def forward(self, x: Tensor) -> Tensor:
        x = self.preprocess(x.clone())  # a network may write in what it is given
        if self.output in ("probabilities", "sigmoid", "log_probabilities"):
            with _LastActivation() as mode:
                raw = self.core(x)
            scores = select_output(raw, self.output_index)[0]
            logits = mode.input_of(scores)
            if logits is None:
                logits = self.invert(scores)
        else:
            logits = select_output(self.core(x), self.output_index)[0]
        if logits.ndim == 1:
            logits = logits[:, None]
        if self.threshold is not None:
            logits = logits - self.threshold
        if logits.shape[1] == 1 and (self.output != "value" or self.threshold is not None):
            logits = torch.cat([torch.zeros_like(logits), logits], 1)
        return logits

    def invert(self, scores: Tensor) -> Tensor:
        """Logits from probabilities, where no softmax or sigmoid was seen to make them."""
        tiny = torch.finfo(scores.dtype).tiny
        if self.output == "probabilities":
            return scores.clamp_min(tiny).log()
        if self.output == "sigmoid":
            return scores.clamp_min(tiny).log() - (1 - scores).clamp_min(tiny).log()
        return scores


def evaluating(model: Module) -> Module:
    """The model in eval mode; programs of torch.export refuse `eval()`, and have one mode only."""
    for module in model.modules():
        module.training = False
    return model


def accepts(model: nn.Module, x: Tensor) -> bool:
    try:
        probe(model, x)
    except AuditError:
        return False
    return True

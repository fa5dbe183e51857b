"""What stands around the user's model: preprocessing before it, logits after it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from audit.meta import Output, Preprocess
from audit.outputs import SPREADS, VALUES, select_output, values_of, with_spread
from audit.packing import Feed
from audit.scores import distance


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
ACTIVATIONS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "probabilities": torch.softmax,
    "log_probabilities": torch.log_softmax,
    "sigmoid": lambda z, _: torch.sigmoid(z),
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

    def behind(
        self, scores: Tensor, activation: Callable[[Tensor, int], Tensor], axis: int
    ) -> Tensor | None:
        """The input that the activation makes these very scores of, on every row; None: none does.

        A softmax over another axis, and scores changed after it, are found out so.
        """
        for source in reversed(self.sources):
            if source.numel() == scores.numel() and source.dtype == scores.dtype:
                shaped = source.reshape(scores.shape)
                near = 4 * torch.finfo(scores.dtype).eps
                made = activation(shaped.detach(), axis)
                if torch.allclose(made, scores.detach(), rtol=near, atol=near, equal_nan=True):
                    return shaped
        return None


def precision(model: nn.Module) -> torch.dtype:
    """The floating type of the model's weights; torch's default where it has none."""
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
            return tensor.dtype
    return torch.get_default_dtype()


@dataclass(frozen=True)
class OutputForm:
    """How the numbers that a network returns are to be read; nothing given: as they are.

    Attributes:
        output: what they are: 'logits', 'probabilities', 'value', …
        index: which of several tensors holds them.
        threshold: of a score: from it on, the second class is answered.
        units: the axes along which a sample's answers lie; 0: it has one.
        classes_last: do the scores of an answer lie on the last axis, and not on the first?
        stride: every which unit is judged, along each of these axes.
        finish: (logits, prepared inputs) → what is audited of them.
    """

    output: Output | None = None
    index: int | None = None
    threshold: float | None = None
    units: int = 0
    classes_last: bool = False
    stride: int = 1
    finish: Callable[[Tensor, Tensor], Tensor] | None = None

    @property
    def class_axis(self) -> int:
        """Of what the network returns, the axis that a softmax is over."""
        return -1 if self.units and self.classes_last else 1

    def laid(self, returned: Tensor) -> Tensor:
        """[n, classes, units] of what was returned; where a sample has one answer, as it is."""
        if not self.units:
            return returned
        if returned.ndim == self.units + 1:  # one score for two classes, on no axis of its own
            returned = returned[:, None]
        elif self.classes_last:
            returned = returned.movedim(-1, 1)
        for axis in range(2, 2 + self.units) if self.stride > 1 else ():
            kept = torch.arange(0, returned.shape[axis], self.stride, device=returned.device)
            returned = returned.index_select(axis, kept)
        return returned.flatten(2)

    def rows(self, returned: Tensor, prepared: Tensor) -> Tensor:
        """[n, classes], [n, classes, units] or [n, k] values of what was returned for prepared inputs."""
        laid = self.laid(returned)
        if self.finish is not None:
            return self.finish(laid, prepared)
        if laid.ndim == 1:
            return laid[:, None]
        return laid.flatten(1) if self.output in VALUES else laid

    def tensor(self, raw: Any) -> Tensor:
        """Of what was returned, the numbers that answers are read from."""
        return with_spread(raw) if self.output in SPREADS else select_output(raw, self.index)

    def values(self, returned: Tensor) -> Tensor:
        """[n, ...] the values that returned numbers stand for."""
        return values_of(returned, self.output)


class Logits(nn.Module):
    """Preprocessing, the user's model, and what it returns as logits [n, classes].

    A model that takes several inputs is asked by its `feed`.

    Where each unit of a sample has its answer, they are [n, classes, units]. One-output binary models
    answer (0, z): their softmax is the sigmoid. Scores with a threshold answer (0, score − threshold).
    Values are answered as numbers on the scale of the labels, [n, k], those of several axes in a row. A
    softmax or sigmoid at the end is looked behind only in calls whose returned numbers it reproduces;
    elsewhere those are inverted.
    """

    def __init__(
        self, core: nn.Module, preprocess: nn.Module, form: OutputForm, feed: Feed | None = None
    ) -> None:
        super().__init__()
        self.core, self.preprocess, self.form, self.feed = core, preprocess, form, feed
        self.dtype = precision(core)
        self.training = False

    def prepared(self, x: Tensor) -> Tensor:
        """A batch as the user's model gets it, floats in the precision of its weights."""
        x = self.preprocess(x.clone())  # a network may write in what it is given
        if self.feed is not None:  # each of several inputs has its own type
            return x
        return x.to(self.dtype) if x.is_floating_point() else x

    def asked(self, prepared: Tensor) -> Any:
        """What the user's model returns for a prepared batch."""
        return self.core(prepared) if self.feed is None else self.feed(self.core, prepared)

    def forward(self, x: Tensor) -> Tensor:
        prepared, output = self.prepared(x), self.form.output
        if output == "reconstruction":
            returned = select_output(self.asked(prepared.clone()), self.form.index)
            logits = distance(returned, prepared)
        elif output in ACTIVATIONS:
            with _Activations() as seen:
                returned = select_output(self.asked(prepared), self.form.index)
            logits = seen.behind(returned, ACTIVATIONS[output], self.form.class_axis)
            if logits is None:
                logits = self.invert(returned)
        else:
            logits = self.form.values(self.form.tensor(self.asked(prepared)))
        if logits.dtype in (torch.float16, torch.bfloat16):
            logits = logits.float()
        if len(x) == 1 and (logits.ndim == 0 or len(logits) != 1):
            return self(x.expand(2, *x.shape[1:]))[:1]  # a `.squeeze()` took the sample's axis away
        logits = self.form.rows(logits, prepared)
        threshold = self.form.threshold
        if threshold is not None:
            logits = logits - threshold
        if logits.shape[1] == 1 and (output in SCORED or threshold is not None):
            logits = torch.cat([torch.zeros_like(logits), logits], 1)
        return logits

    def deviations(self, x: Tensor) -> Tensor:
        """[n, k] the standard deviation that the model states of each of its values."""
        assert self.form.output in SPREADS
        given = self.form.tensor(self.asked(self.prepared(x)))[..., 1]
        return SPREADS[self.form.output](given.float()).reshape(len(given), -1)

    def invert(self, scores: Tensor) -> Tensor:
        """Logits from probabilities, where no softmax or sigmoid made them as they are."""
        tiny = torch.finfo(scores.dtype).tiny
        if self.form.output == "probabilities":
            return scores.clamp_min(tiny).log()
        if self.form.output == "sigmoid":
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

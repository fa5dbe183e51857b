"""What a model returned → the tensors in it that could hold its answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from audit.errors import AuditError
from audit.returned import refusal, unlike

FEW = 8  # outputs that a model may have

# Values that are returned as their logarithms.
EXPONENTS = ("log_rate", "log_value")
# Values that are returned with how sure the model is of each: the second number → a standard deviation.
SPREADS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean_and_variance": torch.sqrt,
    "mean_and_log_variance": lambda v: (v / 2).exp(),
    "mean_and_deviation": lambda v: v,
}
VALUES = ("value", *EXPONENTS, *SPREADS)


@dataclass(frozen=True)
class Candidate:
    """A tensor with one row for each sample."""

    tensor: Tensor
    index: int | None  # into what was returned; None: it was returned alone
    name: str = ""  # its key or field, where it has one

    @property
    def told(self) -> str:
        """In words: 'output 1 (logits) of shape [n, 3]'."""
        shape = ", ".join(["n", *map(str, self.tensor.shape[1:])])
        number = "the output" if self.index is None else f"output {self.index}"
        return f"{number}{f' ({self.name})' if self.name else ''} of shape [{shape}]"


def parts(raw: Any) -> list[tuple[str, Any]] | None:
    """(name or '', part) of a tuple, list, mapping, named tuple or dataclass; None: of nothing else."""
    if isinstance(raw, Mapping):
        return [(str(k), v) for k, v in raw.items()]
    if isinstance(raw, tuple) and hasattr(raw, "_fields"):
        return list(zip(raw._fields, raw, strict=True))
    if isinstance(raw, (tuple, list)):
        return [("", v) for v in raw]
    if dataclasses.is_dataclass(raw) and not isinstance(raw, type):
        return [(f.name, getattr(raw, f.name)) for f in dataclasses.fields(raw)]
    return None


def select_output(raw: Any, index: int | None) -> Tensor:
    """The tensor at `index`, or the only thing returned.

    Raises:
        AuditError: there is no tensor where one is due.
    """
    if isinstance(raw, Tensor):
        return raw
    found = parts(raw)
    if found is None or index is None:
        raise AuditError(
            f"The model returns {type(raw).__name__}, in which no tensor of scores was found; "
            "wrap the model so that it returns one tensor."
        )
    if not -len(found) <= index < len(found) or not isinstance(found[index][1], Tensor):
        raise AuditError(
            f"The model returns {len(found)} outputs and output_index = {index} is not a "
            "tensor among them; correct [subject] output_index."
        )
    tensor: Tensor = found[index][1]
    return tensor


def values_of(returned: Tensor, output: str | None) -> Tensor:
    """[n, ...] the values that returned numbers stand for."""
    if output in SPREADS:
        return returned[..., 0]
    return returned.exp() if output in EXPONENTS else returned


def with_spread(raw: Any) -> Tensor:
    """[n, ..., 2] each value and what is said of how sure it is.

    Raises:
        AuditError: there are no such two numbers for each value.
    """
    if isinstance(raw, Tensor):
        if raw.ndim > 1 and raw.shape[-1] == 2:
            return raw
        shape = list(raw.shape)
        raise AuditError(
            f"A mean and its spread are announced ([subject] output) and the model returns shape {shape}; "
            "return [n, 2], or [n, ..., 2] of several values, or a tuple of two tensors."
        )
    found = [v for _, v in parts(raw) or [] if isinstance(v, Tensor)]
    if len(found) < 2 or found[0].shape != found[1].shape:
        raise AuditError(
            "A mean and its spread are announced ([subject] output) and the model returns "
            f"{type(raw).__name__} without two tensors of one shape at its head; return (mean, spread)."
        )
    mean, spread = (v[:, 0] if v.ndim == 2 and v.shape[1] == 1 else v for v in found[:2])
    return torch.stack([mean, spread], -1)


def candidates(raw: Any, n: int, index: int | None = None) -> list[Candidate]:
    """The tensors that could hold the answers to n samples; at `index` alone where it is given.

    Raises:
        AuditError: there is none; the sentence says what was returned instead.
    """
    if isinstance(raw, Tensor):
        found = [Candidate(raw, None)]
    elif index is not None:
        found = [Candidate(select_output(raw, index), index)]
    else:
        found = [
            Candidate(v, i, name)
            for i, (name, v) in enumerate(parts(raw) or [])
            if isinstance(v, Tensor)
        ]
    if index is None and unlike(raw):
        raise AuditError(refusal(raw, n))
    rows = [c for c in found if is_plain(c.tensor) and c.tensor.ndim > 0 and len(c.tensor) == n]
    one_each = isinstance(raw, (tuple, list)) and len(raw) == n > FEW
    if one_each and len(rows) < len(found):
        rows = []  # as long as there are samples by chance
    fitting = [c for c in rows if c.tensor.is_floating_point()]
    if fitting:
        return fitting
    if rows:
        raise AuditError(refusal(raw if isinstance(raw, Tensor) else rows[0].tensor, n))
    scores = [c for c in found if is_plain(c.tensor) and c.tensor.is_floating_point()]
    if any(c.tensor.ndim > 0 for c in scores) and not one_each:
        shapes = " and ".join(str(list(c.tensor.shape)) for c in scores[:4])
        raise AuditError(
            f"For {n} samples the model returns scores of shape {shapes}; one row of scores for each "
            "sample is needed ([subject] output_index selects another output)."
        )
    raise AuditError(refusal(raw, n))


def is_plain(tensor: Tensor) -> bool:
    """Does it hold all of its numbers, in rows of one length?"""
    return tensor.layout == torch.strided and not tensor.is_nested and not tensor.is_complex()


def answered(logits: Tensor) -> Tensor:
    """[n] is each an answer [classes, ...] of numbers, none of them NaN or infinite?"""
    return torch.isfinite(logits).flatten(1).all(1)


def decided(logits: Tensor) -> Tensor:
    """[n, ...] the class with the highest score; −1, which is no class, in answers of NaN or infinity."""
    best = logits.argmax(1)
    return best.masked_fill(~answered(logits).reshape(-1, *(1,) * (best.ndim - 1)), -1)


def full(numbers: Tensor) -> Tensor:
    """In single precision at least."""
    return numbers if numbers.dtype == torch.float64 else numbers.float()

"""Several named inputs as one row of numbers, and back.

Everything that is done to samples is done to one tensor [n, ...]. Where a model takes several inputs,
theirs lie side by side in a row [n, width]; just before the model is asked, each becomes again what the
model takes, in its own shape and type. Gradients pass through.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from audit.errors import AuditError

EXACT = 1 << 24  # up to which single precision holds every whole number
Way = Literal["by keyword", "as one dict", "by position"]


@dataclass(frozen=True)
class Member:
    """One of several inputs.

    Attributes:
        shape: of one sample; () where it is a single number.
        dtype: in which the model gets it.
        start: its first column in the row.
    """

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    start: int

    @property
    def width(self) -> int:
        return math.prod(self.shape)

    @property
    def columns(self) -> slice:
        return slice(self.start, self.start + self.width)

    @property
    def counted(self) -> bool:
        """Does it hold whole numbers or truths?"""
        return not self.dtype.is_floating_point

    def of(self, row: Tensor) -> Tensor:
        """[n, width of all] → [n, *shape], its numbers as they lie in the row."""
        return row[:, self.columns].reshape(len(row), *self.shape)

    def taken(self, row: Tensor, precision: torch.dtype) -> Tensor:
        """[n, width of all] → [n, *shape] as the model gets it; numbers in the model's precision."""
        values = self.of(row)
        if not self.counted:
            return values.to(precision)
        return values > 0.5 if self.dtype == torch.bool else values.round().to(self.dtype)


@dataclass(frozen=True)
class Layout:
    """Which columns of a row hold which input."""

    members: tuple[Member, ...]

    @classmethod
    def of(cls, named: Mapping[str, Tensor]) -> Layout:
        """Inputs [n, ...] in the order in which they are given.

        Example:
            >>> layout = Layout.of({"ids": torch.ones(2, 3, dtype=torch.long), "age": torch.ones(2)})
            >>> [(m.name, m.columns) for m in layout.members]
            [('ids', slice(0, 3, None)), ('age', slice(3, 4, None))]
        """
        members: list[Member] = []
        start = 0
        for name, x in named.items():
            members.append(Member(name, tuple(x.shape[1:]), x.dtype, start))
            start += members[-1].width
        return cls(tuple(members))

    def __getitem__(self, name: str) -> Member:
        return next(m for m in self.members if m.name == name)

    @property
    def names(self) -> list[str]:
        return [m.name for m in self.members]

    @property
    def width(self) -> int:
        return sum(m.width for m in self.members)

    def pack(self, named: Mapping[str, Tensor], dtype: torch.dtype) -> Tensor:
        """[n, width] of inputs [n, ...].

        Raises:
            AuditError: they are others, or of other shapes.
        """
        if set(named) != set(self.names):
            raise AuditError(
                f"The training data hold the inputs {', '.join(named)} and the evaluation data "
                f"{', '.join(self.names)}; give both in the same form."
            )
        for member in self.members:
            shape = tuple(named[member.name].shape[1:])
            if shape != member.shape:
                raise AuditError(
                    f"The training data have {member.name!r} of shape {list(shape)} and the evaluation "
                    f"data {list(member.shape)}; give both in the same form."
                )
        return torch.cat(
            [
                named[name].to(dtype).flatten(1)
                if named[name].ndim > 1
                else named[name].to(dtype)[:, None]
                for name in self.names
            ],
            1,
        )


@dataclass(frozen=True, eq=False)
class Feed:
    """How a model that takes several inputs is asked.

    Attributes:
        way: by keyword, as one dict, or by position in the order of the layout.
        precision: of the model's numbers.
        prepare: what is done to an input first, by its name.
    """

    layout: Layout
    precision: torch.dtype
    way: Way = "by keyword"
    prepare: Mapping[str, nn.Module] = field(default_factory=dict)

    def inputs(self, row: Tensor) -> dict[str, Tensor]:
        """[n, width] → name → [n, ...] as the model gets it."""
        found = {}
        for member in self.layout.members:
            values = member.taken(row, self.precision)
            if member.name in self.prepare:
                values = self.prepare[member.name](values).to(self.precision)
            found[member.name] = values
        return found

    def __call__(self, model: nn.Module, row: Tensor) -> Any:
        """What the model returns for samples [n, width]."""
        inputs = self.inputs(row)
        if self.way == "by keyword":
            return model(**inputs)
        return model(inputs) if self.way == "as one dict" else model(*inputs.values())


def taken_by(model: nn.Module) -> list[inspect.Parameter] | None:
    """What the model's `forward` takes; None where it does not tell."""
    try:
        return list(inspect.signature(model.forward).parameters.values())
    except (TypeError, ValueError):
        return None


def which_arrays(names: Sequence[str], taken: Container[str] = ()) -> str:
    """The line that says which of several arrays are the samples and their labels."""
    x = next((name for name in names if name in taken), names[0])
    return f'arrays = {{x = "{x}", y = "…"}} under [subject], with the names that are meant'


def ways(model: nn.Module, names: Sequence[str]) -> list[Way]:
    """How inputs of these names may be passed, what the signature speaks for first.

    Raises:
        AuditError: the names are neither its parameters nor as many as it takes; the sentence says which
            it takes.
    """
    parameters = taken_by(model)
    if parameters is None:
        return ["by keyword", "as one dict", "by position"]
    kinds = inspect.Parameter
    open_ = any(p.kind is kinds.VAR_KEYWORD for p in parameters)
    by_name = {
        p.name for p in parameters if p.kind in (kinds.POSITIONAL_OR_KEYWORD, kinds.KEYWORD_ONLY)
    }
    in_order = [
        p for p in parameters if p.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)
    ]
    due = [p for p in in_order if p.default is kinds.empty]
    endless = any(p.kind is kinds.VAR_POSITIONAL for p in parameters)
    found: list[Way] = []
    missing = [p.name for p in due if p.name not in names]
    if not missing and (open_ or set(names) <= by_name):
        if set(names) <= by_name:
            return ["by keyword"]
        found.append("by keyword")
    if in_order and len(due) <= 1 and not set(names) & by_name:
        found.append("as one dict")
    if (
        len(due) <= len(names)
        and (endless or len(names) <= len(in_order))
        and not set(names) & by_name
    ):
        found.append("by position")
    if not found:
        strangers = [name for name in names if name not in by_name]
        lacking = f" and lack {missing[0]!r}" if missing else ""
        besides = f"hold {strangers[0]!r}, which it does not take" if strangers else "are fewer"
        raise AuditError(
            f"The model's forward takes ({', '.join(p.name for p in parameters)}) and the data "
            f"{besides}{lacking}; name the inputs as it names them, or write {which_arrays(names, by_name)}."
        )
    return found

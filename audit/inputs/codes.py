"""Codes: [columns], whole numbers that stand for categories, each column with numbers of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from audit.inputs import FirstLayer, InputKind, Parts, spaced

if TYPE_CHECKING:
    from audit.subject import Subject


class Codes(InputKind):
    """Codes of categories."""

    noun: ClassVar[str] = "codes"
    value: ClassVar[str] = "code"
    continuous: ClassVar[bool] = False

    def fits(self, x: Tensor, first: FirstLayer | None) -> str:
        """Alone, rows of whole numbers are texts unless `kind` says otherwise."""
        return ""

    def tiny(self, n: int, generator: torch.Generator) -> tuple[Any, dict[str, Any]]:
        return torch.randint(2, 12, (n, 4), generator=generator), {}

    def parts(self, subject: Subject) -> Parts:
        """Each column, by its number."""
        columns = subject.inputs.shape[1]
        return Parts(torch.arange(columns), [f"code {i}" for i in range(columns)], None)

    def baseline(self, subject: Subject) -> Tensor:
        """The most frequent code of each column: a mean of codes is none."""
        return subject.inputs.mode(0).values[None].to(subject.device)

    def absent(self, subject: Subject, rows: int) -> Tensor:
        """Rows of the data, evenly spaced."""
        return spaced(subject.inputs, rows).to(subject.device)

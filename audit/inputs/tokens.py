"""Texts as numbers of words: [words], whole numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from audit.inputs import FirstLayer, InputKind, Parts, spaced
from audit.inputs._series import padded_with, trailing
from audit.record import Figure, Table

if TYPE_CHECKING:
    from audit.subject import Subject

PADDING = ("<pad>", "[PAD]", "")
DIRECTIONS = 256  # that bags of words are told apart by


class Tokens(InputKind):
    """Texts."""

    noun: ClassVar[str] = "tokens"
    value: ClassVar[str] = "word"
    place: ClassVar[str] = "token"
    axes_of_places: ClassVar[int] = 1
    continuous: ClassVar[bool] = False
    edits: ClassVar[tuple[str, ...]] = ("typos", "substitutions")
    steps_axis: ClassVar[int | None] = 0

    def fits(self, x: Tensor, first: FirstLayer | None) -> str:
        whole = x.ndim == 2 and x.dtype in (torch.int32, torch.int64)
        return f"whole numbers in rows of {x.shape[1]}" if whole else ""

    def tiny(self, n: int, generator: torch.Generator) -> tuple[Tensor, dict[str, Any]]:
        words = ["<pad>", "<unk>", *(a + b for a in "bcdfg" for b in "aeiou")]
        return torch.randint(2, len(words), (n, 6), generator=generator), {"vocabulary": words}

    def ended(self, x: Tensor, extents: tuple[int, ...]) -> Tensor | None:
        """Where one token fills texts up, which else is rarer than there."""
        pad = padded_with(x[..., None])
        if pad is None or tuple(x.shape[1:]) != extents:
            return None
        ends = trailing(x[..., None], pad)
        return ends if 2 * int(ends.sum()) > int((x == pad).sum()) else None

    def parts(self, subject: Subject) -> Parts:
        words = subject.inputs.shape[1]
        return Parts(torch.arange(words), [f"word {i + 1}" for i in range(words)], (1, words))

    def raw(self, subject: Subject, x: Tensor) -> Tensor:
        """Bags of words, padding left out: every word a random direction (Achlioptas 2003)."""
        generator = torch.Generator().manual_seed(0)
        most = int(max(x.max(), subject.inputs.max())) + 1
        directions = torch.randn(most, DIRECTIONS, generator=generator)
        vocabulary = subject.meta.input.vocabulary or []
        directions[[i for i, word in enumerate(vocabulary[:most]) if word in PADDING]] = 0
        return F.normalize(F.embedding_bag(x.long(), directions, mode="sum"), dim=1)

    def baseline(self, subject: Subject) -> Tensor:
        """The most frequent word of each place: a mean of words is none."""
        return subject.inputs.mode(0).values[None].to(subject.device)

    def absent(self, subject: Subject, rows: int) -> Tensor:
        """Texts of the data, evenly spaced."""
        return spaced(subject.inputs, rows).to(subject.device)

    def texts(self, subject: Subject, x: Tensor) -> Tensor:
        return x

    def examples(
        self, subject: Subject, original: Tensor, changed: Tensor, said: Sequence[str]
    ) -> tuple[list[Table], list[Figure]]:
        vocabulary = subject.meta.input.vocabulary
        if not vocabulary:
            return [], []
        lines: list[list[str | float | int | bool | None]] = []
        for i, (old, new) in enumerate(zip(original.tolist(), changed.tolist(), strict=True)):
            words = [
                vocabulary[o] if o == n else f"{vocabulary[o]} → {vocabulary[n]}"
                for o, n in zip(old, new, strict=True)
            ]
            lines.append([i + 1, said[i], " ".join(w for w in words if w not in PADDING)])
        return [
            Table(
                title="Examples: what was changed in a text",
                columns=["example", "answer", "text"],
                rows=lines,
            )
        ], []

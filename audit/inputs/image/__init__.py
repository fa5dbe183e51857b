"""Pictures: [channels, height, width], or with the channels last."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit import figures
from audit.inputs import Corruption, FirstLayer, InputKind, Move, Parts, Uniform, Ways, blocks
from audit.inputs.image.corruptions import STRENGTHS, corrupt, turned
from audit.outputs import full
from audit.record import Figure, Table
from audit.words import number

if TYPE_CHECKING:
    from audit.subject import Subject

TILES = 8  # of a grid, at most: lime's own segmentation finds one segment on small pictures
MOST_CHANNELS = 4


class Image(InputKind):
    """Pictures."""

    noun: ClassVar[str] = "pictures"
    value: ClassVar[str] = "pixel"
    place: ClassVar[str] = "pixel"
    axes_of_places: ClassVar[int] = 2
    common_unit: ClassVar[bool] = True
    has_neighbours: ClassVar[bool] = True
    planar: ClassVar[bool] = True
    byte_values: ClassVar[bool] = True

    def fits(self, x: Tensor, first: FirstLayer | None) -> str:
        return f"samples of shape {tuple(x.shape[1:])}" if x.ndim == 4 else ""

    def tiny(self, n: int, generator: torch.Generator) -> tuple[Tensor, dict[str, Any]]:
        return torch.rand(n, 1, 8, 8, generator=generator), {"range": (0, 1), "eps": 0.05}

    def parts(self, subject: Subject) -> Parts:
        """Tiles of a grid."""
        shape = tuple(subject.inputs.shape[1:])
        last = subject.channels_last
        height, width = self.extents(subject)
        rows, columns = (max(1, min(TILES, extent // 2)) for extent in (height, width))
        cell = blocks(height, rows)[:, None] * columns + blocks(width, columns)[None, :]
        member = cell[:, :, None].expand(shape) if last else cell[None].expand(shape)
        names = [f"row {r + 1}, column {c + 1}" for r in range(rows) for c in range(columns)]
        return Parts(member.contiguous(), names, (rows, columns))

    def extents(self, subject: Subject) -> tuple[int, ...]:
        shape = tuple(subject.inputs.shape[1:])
        return shape[:2] if subject.channels_last else shape[1:]

    def over_channels(self, subject: Subject, values: Tensor) -> Tensor:
        last = subject.channels_last
        return super().over_channels(subject, values.permute(0, 2, 3, 1) if last else values)

    def corruptions(self, subject: Subject) -> dict[str, Corruption]:
        low, high = self.range_of(subject)
        last = subject.channels_last
        shape = subject.inputs.shape[1:]
        channels = shape[-1] if last else shape[0]

        def disturb(kind: str) -> Corruption:
            def disturbed(x: Tensor, severity: int, uniform: Uniform) -> Tensor:
                unit = (x - low) / (high - low)
                unit = unit.permute(0, 3, 1, 2) if last else unit
                changed = corrupt(unit, kind, severity, uniform)
                return (changed.permute(0, 2, 3, 1) if last else changed) * (high - low) + low

            return disturbed

        left = set() if channels in (1, 3) else {"compression"}  # a JPEG file holds one or three
        if subject.task.located:
            left.add("rotation")  # the labels would lie elsewhere
        return {k: disturb(k) for k in STRENGTHS if k not in left}

    def displacements(
        self, subject: Subject, degrees: float, shift: float, grid: int
    ) -> list[Move]:
        def move(turn: float, across: float, down: float) -> Move:
            def moved(x: Tensor) -> Tensor:
                pictures = x.permute(0, 3, 1, 2) if subject.channels_last else x
                angle = torch.full((len(x),), turn).to(full(x))
                offset = torch.tensor([[across, down]]).to(full(x)).expand(len(x), 2)
                made = turned(full(pictures), angle, offset)
                return made.permute(0, 2, 3, 1) if subject.channels_last else made

            return moved

        values = torch.linspace(-1, 1, grid).tolist()
        order = sorted(
            itertools.product(values, values, values),
            key=lambda c: sum(v * v for v in c),
            reverse=True,
        )
        return [
            move(degrees * a, shift * b, shift * c) for a, b, c in order if (a, b, c) != (0, 0, 0)
        ]

    def displacement(self, degrees: float, shift: str) -> tuple[str, str]:
        return (
            f"Turning a picture by at most {number(degrees)} degrees and shifting it by at most "
            f"{shift} of its width and height",
            f"turned by {number(degrees)} degrees, shifted by {shift}",
        )

    def rescalings(self, subject: Subject) -> Ways:
        found = super().rescalings(subject)
        low, high = self.range_of(subject)
        found["in −1 to 1"] = lambda _, x: 2 * (x - low) / (high - low) - 1
        found["inverted"] = lambda _, x: low + high - x
        shape = subject.inputs.shape
        if 3 in (shape[1], shape[-1]):
            found["colours reversed"] = lambda _, x: x.flip(1 if x.shape[1] == 3 else -1)
        return found

    def drawn_map(
        self, subject: Subject, values: NDArray[np.floating[Any]]
    ) -> NDArray[np.floating[Any]]:
        if values.ndim < 3:
            return values
        return np.asarray(values.sum(0 if values.shape[0] <= MOST_CHANNELS else -1))

    def examples(
        self, subject: Subject, original: Tensor, changed: Tensor, said: Sequence[str]
    ) -> tuple[list[Table], list[Figure]]:
        low, high = self.range_of(subject)
        sheet = []
        for clean, after in zip(original.float().numpy(), changed.numpy(), strict=True):
            difference = after - clean
            flat = (
                difference.mean(0) if difference.shape[0] <= MOST_CHANNELS else difference.mean(-1)
            )
            sheet.append(
                [
                    figures.grey_or_rgb(clean, low, high),
                    figures.signed_colours(flat),
                    figures.grey_or_rgb(after, low, high),
                ]
            )
        return [], [
            figures.tiles(
                sheet,
                title="Original, change (amplified), result",
                caption=f"{len(sheet)} sample{'s' if len(sheet) > 1 else ''}, one a row; the answers went "
                f"{'; '.join(said)}. The middle picture scales the change to full colour: orange is "
                "brighter, blue darker.",
            )
        ]

"""Volumes: [channels, depth, height, width], as scanners make them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit import figures
from audit.inputs import Corruption, FirstLayer, InputKind, Move, Parts, Uniform, blocks, normal
from audit.inputs.image.corruptions import STRENGTHS
from audit.record import Figure, Table

if TYPE_CHECKING:
    from audit.subject import Subject

BLOCKS = 4  # along each axis, at most
DISTURBANCES = ("noise", "blur", "contrast", "brightness")


def moved(x: Tensor, steps: Sequence[int]) -> Tensor:
    """Volumes [n, c, d, h, w] some voxels further along each axis; what enters repeats the edge."""
    for axis, by in enumerate(steps, start=2):
        at = (torch.arange(x.shape[axis], device=x.device) - by).clamp(0, x.shape[axis] - 1)
        x = x.index_select(axis, at)
    return x


def disturbed(x: Tensor, what: str, severity: int, uniform: Uniform) -> Tensor:
    """[n, c, d, h, w] in [0, 1] → the same, disturbed as pictures are (Hendrycks and Dietterich 2019).

    Args:
        what: one of `DISTURBANCES`. severity: 1 (hardly) to 5 (badly).
    """
    strength = STRENGTHS[what][severity - 1]
    if what == "noise":
        x = x + strength * normal(uniform, 0, tuple(x.shape[1:])).to(x.device)
    elif what == "blur":
        from scipy.ndimage import gaussian_filter

        sigma = max(0.3, strength * x.shape[3] / 32)
        made = gaussian_filter(x.cpu().numpy(), (0, 0, sigma, sigma, sigma), mode="nearest")
        x = torch.from_numpy(made).to(x.device)
    elif what == "contrast":
        mean = x.mean((2, 3, 4), keepdim=True)
        x = (x - mean) * strength + mean
    else:
        x = x + strength
    return x.clamp(0, 1)


class Volume(InputKind):
    """Volumes."""

    noun: ClassVar[str] = "volumes"
    value: ClassVar[str] = "voxel"
    common_unit: ClassVar[bool] = True
    has_neighbours: ClassVar[bool] = True
    axes: ClassVar[str] = "A volume is drawn by its middle slice, a map by its mean over the depth."

    def fits(self, x: Tensor, first: FirstLayer | None) -> str:
        shape = tuple(x.shape[1:])
        return f"samples of shape {shape}, read as (channel, depth, height, width)" * (x.ndim == 5)

    def tiny(self, n: int, generator: torch.Generator) -> tuple[Any, dict[str, Any]]:
        return torch.rand(n, 1, 4, 4, 4, generator=generator), {"range": (0, 1), "eps": 0.05}

    def parts(self, subject: Subject) -> Parts:
        """Blocks of a grid."""
        extents = self.extents(subject)
        grid = tuple(max(1, min(BLOCKS, extent // 2)) for extent in extents)
        d, h, w = (blocks(e, g) for e, g in zip(extents, grid, strict=True))
        cell = (d[:, None, None] * grid[1] + h[:, None]) * grid[2] + w
        names = [
            f"depth {a + 1}, row {b + 1}, column {c + 1}"
            for a, b, c in itertools.product(*map(range, grid))
        ]
        return Parts(cell[None].expand(subject.inputs.shape[1:]).contiguous(), names, grid)

    def extents(self, subject: Subject) -> tuple[int, ...]:
        return tuple(subject.inputs.shape[2:])

    def corruptions(self, subject: Subject) -> dict[str, Corruption]:
        low, high = self.range_of(subject)

        def of(what: str) -> Corruption:
            def made(x: Tensor, severity: int, uniform: Uniform) -> Tensor:
                unit = (x - low) / (high - low)
                return disturbed(unit, what, severity, uniform) * (high - low) + low

            return made

        return {what: of(what) for what in DISTURBANCES}

    def displacements(
        self, subject: Subject, degrees: float, shift: float, grid: int
    ) -> list[Move]:
        ways = [
            sorted({round(shift * extent * v) for v in np.linspace(-1, 1, grid)} | {-1, 0, 1})
            for extent in self.extents(subject)
        ]

        def move(steps: Sequence[int]) -> Move:
            return lambda x: moved(x, steps)

        order = sorted(itertools.product(*ways), key=lambda s: sum(map(abs, s)), reverse=True)
        return [move(steps) for steps in order if any(steps)]

    def displacement(self, degrees: float, shift: str) -> tuple[str, str]:
        return (
            f"Shifting a volume by at most {shift} of its depth, height and width",
            f"shifted by {shift}",
        )

    def tile(self, subject: Subject, x: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        return x[:, x.shape[1] // 2]

    def drawn_map(
        self, subject: Subject, values: NDArray[np.floating[Any]]
    ) -> NDArray[np.floating[Any]]:
        values = values.sum(0) if values.ndim == 4 else values
        return np.asarray(values.mean(0)) if values.ndim == 3 else values

    def examples(
        self, subject: Subject, original: Tensor, changed: Tensor, said: Sequence[str]
    ) -> tuple[list[Table], list[Figure]]:
        """The slice of each volume that was changed most."""
        low, high = self.range_of(subject)
        sheet = []
        for clean, after in zip(original.float().numpy(), changed.float().numpy(), strict=True):
            difference = after - clean
            at = int(np.abs(difference).sum((0, 2, 3)).argmax())
            sheet.append(
                [
                    figures.grey_or_rgb(clean[:, at], low, high),
                    figures.signed_colours(difference[:, at].mean(0)),
                    figures.grey_or_rgb(after[:, at], low, high),
                ]
            )
        return [], [
            figures.tiles(
                sheet,
                title="Original, change (amplified), result",
                caption=f"{len(sheet)} sample{'s' if len(sheet) > 1 else ''}, one a row, the slice that was "
                f"changed most; the answers went {'; '.join(said)}. The middle picture scales the change "
                "to full colour: orange is brighter, blue darker.",
            )
        ]

"""Series: [time, channels], numbers."""

from __future__ import annotations

from collections.abc import Sequence as Several
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit import figures
from audit.inputs import InputKind, Move, Parts, blocks
from audit.meta import Feature
from audit.record import Figure, Table

if TYPE_CHECKING:
    from audit.subject import Subject

PADDED = 0.05  # share of the series that end in the same step, from which on it is padding
TIMES, CHANNELS = 6, 16  # parts along each axis, at most


def delayed(x: Tensor, steps: int) -> Tensor:
    """Series [n, time, channels] some steps later, or earlier; what enters repeats the end."""
    size = x.shape[1]
    at = (torch.arange(size, device=x.device) - steps).clamp(0, size - 1)
    return x[:, at]


def trailing(x: Tensor, step: Tensor) -> Tensor:
    """[n, time] is this step, and is every later one, the step [channels]?"""
    same = (x == step).all(2)
    return same.flip(1).cumprod(1).flip(1).bool()


class Sequence(InputKind):
    """Series over time."""

    noun: ClassVar[str] = "series"
    common_unit: ClassVar[bool] = True
    has_neighbours: ClassVar[bool] = True
    noisy: ClassVar[bool] = True
    axes: ClassVar[str] = "Time runs to the right, channels downwards."

    def fits(self, x: Tensor) -> str:
        shape = tuple(x.shape[1:])
        return f"samples of shape {shape}, read as (time, channel)" if x.ndim == 3 else ""

    def tiny(self, n: int, generator: torch.Generator) -> tuple[Tensor, dict[str, Any]]:
        return torch.rand(n, 7, 3, generator=generator), {"range": (0, 1), "eps": 0.05}

    def pad(self, x: Tensor) -> Tensor | None:
        """[channels] the step that series of several lengths end in: the same over and over."""
        ends, counts = x[:, -1].unique(dim=0, return_counts=True)
        step: Tensor = ends[counts.argmax()]
        lengths = trailing(x, step).sum(1)
        several = len(lengths.unique()) > 1 and int(lengths.max()) > 1
        return step if several and float((lengths > 0).float().mean()) >= PADDED else None

    def padding(self, x: Tensor, pad: Tensor) -> Tensor:
        return trailing(x, pad.to(x))[:, :, None].expand_as(x)

    def parts(self, subject: Subject) -> Parts:
        """Stretches of time of groups of channels."""
        shape = subject.inputs.shape[1:]
        steps, channels = shape[0], shape[-1]
        times, groups = min(TIMES, steps), min(CHANNELS, channels)
        cell = blocks(channels, groups)[None, :] * times + blocks(steps, times)[:, None]
        names = [
            f"channels {g + 1}, part {t + 1} of {times}"
            for g in range(groups)
            for t in range(times)
        ]
        return Parts(cell.contiguous(), names, (groups, times))

    def fillings(self, subject: Subject) -> list[tuple[Feature, str]]:
        """A channel that is silent throughout."""
        return [
            (Feature(name=f"channel {c + 1}", columns=[c]), how)
            for c in range(subject.inputs.shape[-1])
            for how in ("mean", "zero")
        ]

    def displacements(
        self, subject: Subject, degrees: float, shift: float, grid: int
    ) -> list[Move]:
        most = max(1, round(shift * subject.inputs.shape[1]))

        def move(steps: int) -> Move:
            return lambda x: delayed(x, steps)

        return [move(s) for s in sorted(range(-most, most + 1), key=abs, reverse=True) if s]

    def displacement(self, degrees: float, shift: str) -> tuple[str, str]:
        return f"Shifting a series in time by at most {shift} of its length", f"shifted by {shift}"

    def tile(self, subject: Subject, x: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        return x.T

    def drawn_map(
        self, subject: Subject, values: NDArray[np.floating[Any]]
    ) -> NDArray[np.floating[Any]]:
        return values.T if values.shape == tuple(subject.inputs.shape[1:]) else values

    def examples(
        self, subject: Subject, original: Tensor, changed: Tensor, said: Several[str]
    ) -> tuple[list[Table], list[Figure]]:
        """The channel of one series that was changed most, before and after."""
        change = (changed[0] - original[0]).abs()
        channel = int(change.sum(0).argmax())
        drawn = [
            {
                "time": t,
                "value": float(values[0, t, channel]),
                "low": float(values[0, t, channel]),
                "high": float(values[0, t, channel]),
                "series": name,
            }
            for name, values in (("before", original), ("after", changed))
            for t in range(original.shape[1])
        ]
        picture = figures.curve(
            drawn,
            x="time",
            y="value",
            series="series",
            domain=None,
            title="A series before and after",
            caption=f"Channel {channel} of one sample, the one changed most; the answer went {said[0]}. "
            f"The largest change of a value is {float(change.max()):.3g}.",
        )
        picture.example = True
        return [], [picture]

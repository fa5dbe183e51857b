"""What series and signals share: values over time. Both are looked at as [n, time, channels]."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

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


def padded_with(x: Tensor) -> Tensor | None:
    """[channels] the step that series [n, time, channels] of several lengths end in, over and over."""
    ends, counts = x[:, -1].unique(dim=0, return_counts=True)
    step: Tensor = ends[counts.argmax()]
    lengths = trailing(x, step).sum(1)
    several = len(lengths.unique()) > 1 and int(lengths.max()) > 1
    return step if several and float((lengths > 0).float().mean()) >= PADDED else None


def runs_along(x: Tensor) -> Literal["first", "last", ""]:
    """The axis of samples [n, a, b] at whose end alone there is padding: time runs along it."""
    first, last = padded_with(x) is not None, padded_with(x.transpose(1, 2)) is not None
    return "" if first == last else "first" if first else "last"


class Series(InputKind):
    """Values over time. A subclass says where time runs."""

    place: ClassVar[str] = "step"
    axes_of_places: ClassVar[int] = 1
    common_unit: ClassVar[bool] = True
    has_neighbours: ClassVar[bool] = True
    noisy: ClassVar[bool] = True
    steps_axis: ClassVar[int | None] = 0
    axes: ClassVar[str] = "Time runs to the right, channels downwards."

    @abstractmethod
    def steps(self, x: Tensor) -> Tensor:
        """Samples [n, ...] as [n, time, channels]."""

    @abstractmethod
    def samples(self, steps: Tensor, like: Tensor) -> Tensor:
        """[n, time, channels] in the form of the samples `like` [n, ...]; the inverse of `steps`."""

    def over_time(self, x: Tensor) -> Tensor | None:
        return self.steps(x)

    def pad(self, x: Tensor) -> Tensor | None:
        return padded_with(self.steps(x))

    def padding(self, x: Tensor, pad: Tensor) -> Tensor:
        steps = self.steps(x)
        return self.samples(trailing(steps, pad.to(x))[:, :, None].expand_as(steps), x)

    def parts(self, subject: Subject) -> Parts:
        """Stretches of time of groups of channels."""
        like = subject.inputs[:1]
        steps, channels = self.steps(like).shape[1:]
        times, groups = min(TIMES, steps), min(CHANNELS, channels)
        cell = blocks(channels, groups)[None, :] * times + blocks(steps, times)[:, None]
        names = [
            f"channels {g + 1}, part {t + 1} of {times}"
            for g in range(groups)
            for t in range(times)
        ]
        return Parts(self.samples(cell[None], like)[0].contiguous(), names, (groups, times))

    def extents(self, subject: Subject) -> tuple[int, ...]:
        return (int(self.steps(subject.inputs[:1]).shape[1]),)

    def over_channels(self, subject: Subject, values: Tensor) -> Tensor:
        steps, like = values.transpose(1, 2), subject.inputs[:1]
        channels = self.steps(like).shape[2]
        return self.samples(
            steps.expand(-1, -1, channels), like.expand(len(values), *like.shape[1:])
        )

    def fillings(self, subject: Subject) -> list[tuple[Feature, str]]:
        """A channel that is silent throughout."""
        return [
            (Feature(name=f"channel {c + 1}", columns=[c]), how)
            for c in range(self.steps(subject.inputs[:1]).shape[2])
            for how in ("mean", "zero")
        ]

    def displacements(
        self, subject: Subject, degrees: float, shift: float, grid: int
    ) -> list[Move]:
        most = max(1, round(shift * self.extents(subject)[0]))

        def move(steps: int) -> Move:
            return lambda x: self.samples(delayed(self.steps(x), steps), x)

        tried = np.unique(np.linspace(-most, most, min(2 * most + 1, grid**3)).round())
        return [move(int(s)) for s in sorted(tried, key=abs, reverse=True) if s]

    def displacement(self, degrees: float, shift: str) -> tuple[str, str]:
        return f"Shifting a series in time by at most {shift} of its length", f"shifted by {shift}"

    def tile(self, subject: Subject, x: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        return self.drawn_map(subject, x)

    def drawn_map(
        self, subject: Subject, values: NDArray[np.floating[Any]]
    ) -> NDArray[np.floating[Any]]:
        """[channels, time] of a value each; what is of another shape stays as it is."""
        if values.shape != tuple(subject.inputs.shape[1:]):
            return values
        drawn: NDArray[np.floating[Any]] = self.steps(torch.from_numpy(values)[None])[0].T.numpy()
        return drawn

    def examples(
        self, subject: Subject, original: Tensor, changed: Tensor, said: Sequence[str]
    ) -> tuple[list[Table], list[Figure]]:
        """The channel of one series that was changed most, before and after."""
        before, after = self.steps(original[:1])[0], self.steps(changed[:1])[0]
        change = (after - before).abs()
        channel = int(change.sum(0).argmax())
        drawn = [
            {"time": t, "value": value, "low": value, "high": value, "series": name}
            for name, values in (("before", before), ("after", after))
            for t, value in enumerate(values[:, channel].tolist())
        ]
        picture = figures.curve(
            drawn,
            x="time",
            y="value",
            series="series",
            domain=None,
            title="A series before and after",
            caption=f"Channel {channel + 1} of one sample, the one changed most; the answer went "
            f"{said[0]}. The largest change of a value is {float(change.max()):.3g}.",
        )
        picture.example = True
        return [], [picture]

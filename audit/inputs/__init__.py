"""What the samples of a subject are: one file a kind.

A kind says what a small change of a sample is and in which unit, what can be left out of it and what
takes its place, which disturbances it meets in life, and how it is drawn. Checks and methods ask a kind
for what they need (`subject.kind.parts(subject)`) or for a capability (`subject.kind.continuous`), never
for its name.
"""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.errors import AuditError, NotApplicable
from audit.meta import Feature, SubjectMeta
from audit.outputs import full
from audit.packing import Layout
from audit.record import Figure, Table
from audit.rooms import INPUTS, room, rooms
from audit.words import number, share

if TYPE_CHECKING:
    from audit.subject import Subject

Ways = dict[str, Callable[["Subject", Tensor], Tensor]]
Move = Callable[[Tensor], Tensor]
Uniform = Callable[[int, Sequence[int]], Tensor]  # (stream, shape) → [n, *shape] in [0, 1)
Corruption = Callable[[Tensor, int, Uniform], Tensor]  # (inputs, severity 1 to 5, random numbers)
CHANNELS_FIRST = ("Conv1d", "BatchNorm1d", "InstanceNorm1d", "GroupNorm")
PADDED = 1.5  # times its length, that a row may be given to a convolution as
EPS_SHARE = 8 / 255  # of the range's width, where nobody said how much must not matter


@dataclass(frozen=True)
class Parts:
    """The parts of an input that are taken away together.

    Attributes:
        member: [...] index of the part that each input value belongs to; `count`, the number of parts,
            where it belongs to none, and always stays.
        names: one for each part.
        grid: shape in which the parts can be drawn; None for named features.
        between: [...] the other part of a value that lies between two, as an edge lies between nodes, and
            goes with either; None: no value does.
    """

    member: Tensor
    names: list[str]
    grid: tuple[int, ...] | None
    between: Tensor | None = None

    @property
    def count(self) -> int:
        return len(self.names)

    @functools.cached_property
    def rest(self) -> bool:
        """Are there values that belong to no part?"""
        return bool((self.member == self.count).any())

    def expand(self, masks: Tensor) -> Tensor:
        """[..., parts] → [..., *input shape]."""
        if self.rest:
            masks = torch.cat([masks, torch.ones_like(masks[..., :1])], -1)
        there = masks[..., self.member]
        return there if self.between is None else there & masks[..., self.between]

    def total(self, values: Tensor) -> Tensor:
        """[n, *input shape] → [n, parts], summed."""
        flat = values.flatten(1)
        out = torch.zeros(len(flat), self.count + 1, dtype=flat.dtype, device=flat.device)
        return out.index_add_(1, self.member.flatten().to(flat.device), flat)[:, : self.count]


@dataclass(frozen=True)
class Reach:
    """How far each input value may be moved, and between which bounds; each [1, ...]."""

    radius: Tensor
    low: Tensor
    high: Tensor


@dataclass(frozen=True)
class FirstLayer:
    """The layer that samples come to first.

    Attributes:
        kind: its class: 'Conv1d'. name: where it stands in the model.
        given: [n, ...] the shape in which samples come to it.
    """

    kind: str
    name: str
    given: tuple[int, ...]

    @property
    def said(self) -> str:
        """'its first layer, Conv1d 'stem', takes [1, 1024]'."""
        return f"its first layer, {self.kind} {self.name!r}, takes {list(self.given[1:])}"

    def time_last(self, x: Tensor) -> bool:
        """Does it take samples [n, ...] with time on their last axis, as convolutions do?

        A row may come padded, or laid along one axis of a plane.
        """
        if x.ndim == 2 and "Conv" in self.kind:
            places = [extent for extent in self.given[2:] if extent > 1]
            alone = len(places) == 1 and self.given[1] == 1
            return alone and x.shape[1] <= places[0] <= PADDED * x.shape[1]
        if not self.channels_first or len(self.given) != 3:
            return False
        return self.given[2] == x.shape[-1] and self.given[1] == (1 if x.ndim == 2 else x.shape[1])

    def time_first(self, x: Tensor) -> bool:
        """Does it take samples [n, time, channels], step by step or turned round?"""
        if self.channels_first:
            return self.given[1:] == (x.shape[2], x.shape[1])
        recurrent = self.kind in ("RNN", "GRU", "LSTM")
        stepwise = len(self.given) == 3 and self.given[2] == x.shape[2]
        return stepwise and (recurrent or x.shape[1] > 1)

    @property
    def channels_first(self) -> bool:
        return any(name in self.kind for name in CHANNELS_FIRST)


class InputKind(ABC):
    """What the samples are. What it does not override it cannot do, and says so.

    Attributes:
        name: of its file; `[subject.input] kind` chooses it.
        noun: the inputs, in a reader's word: 'pictures'. value: one number of them: 'pixel'.
        place: where in a sample an answer may stand: 'pixel', 'step', 'token'; axes_of_places: how many
        axes they lie along; 0: a sample has none.
        continuous: may values be changed by small steps?
        common_unit: are all values in one unit, with one range?
        planar: have samples a height and a width? has_neighbours: do values that lie side by side
        belong together?
        byte_values: do the values come from bytes?
        edits: ways to edit a sample that is no matter of small steps.
        noisy: is noise on single values what it meets in life?
        axes: how a drawn map is to be read, as a sentence.
        steps_axis: of a sample, the axis along which one may be shorter than another; None: there is none.
        suggested_eps: the line of an audit.toml that says how much must not matter.
    """

    name: str
    noun: ClassVar[str]
    value: ClassVar[str] = "value"
    place: ClassVar[str] = "position"
    axes_of_places: ClassVar[int] = 0
    continuous: ClassVar[bool] = True
    common_unit: ClassVar[bool] = False
    planar: ClassVar[bool] = False
    has_neighbours: ClassVar[bool] = False
    byte_values: ClassVar[bool] = False
    edits: ClassVar[tuple[str, ...]] = ()
    noisy: ClassVar[bool] = False
    axes: ClassVar[str] = ""
    steps_axis: ClassVar[int | None] = None
    suggested_eps: ClassVar[str] = "eps = 0.03  # how much a value may be off without harm"

    def of(self, layout: Layout | None, meta: SubjectMeta, x: Tensor) -> InputKind:
        """The kind for samples [n, ...] of such a layout: what a kind of several inputs knows of each.

        Args:
            layout: of several inputs; None: there is one.
        """
        return self

    # What it is told by

    @abstractmethod
    def fits(self, x: Tensor, first: FirstLayer | None) -> str:
        """Why samples [n, ...] are of this kind; empty where they are not.

        Args:
            first: the layer that they come to first; None where it cannot be told.
        """

    @abstractmethod
    def tiny(self, n: int, generator: torch.Generator) -> tuple[Any, dict[str, Any]]:
        """A few random samples [n, ...] for the contract, and what `[subject.input]` says of them.

        Of several inputs a mapping of them.
        """

    # What a small change is

    def default_eps(self, subject: Subject) -> float:
        """How much must not matter, where nobody said it."""
        low, high = self.range_of(subject)
        return EPS_SHARE * (high - low)

    def reach(self, subject: Subject, eps: float) -> Reach:
        """What a change of size `eps` may move, and how far."""
        low, high = self.range_of(subject)
        like = subject.moments.low
        return Reach(
            torch.full_like(like, eps), torch.full_like(like, low), torch.full_like(like, high)
        )

    def guessed(self, subject: Subject) -> Tensor:
        """[1, ...] of which values are the bounds only what the data fill?"""
        guess = self.common_unit and subject.range_is_inferred
        return torch.full_like(subject.moments.low, guess, dtype=torch.bool)

    def bounds_are_guessed(self, subject: Subject) -> bool:
        """Are the bounds of some values only what the data fill?"""
        return bool(self.guessed(subject).any())

    def require_movable(self, subject: Subject, eps: float) -> None:
        """Raise NotApplicable where a change of size `eps` moves nothing."""
        if not self.moves_numbers(subject):
            raise NotApplicable(f"no {self.value} may be changed by small steps")

    def moves_numbers(self, subject: Subject) -> bool:
        """Is there a number that an adversary may change?"""
        return self.continuous

    def change(self, subject: Subject, size: float, norm: str) -> str:
        """'Changing each pixel by at most 3 % of the range (eps 0.03)'."""
        low, high = self.range_of(subject)
        if norm == "linf":
            return (
                f"Changing each {self.value} by at most {share(size / (high - low))} of the range "
                f"(eps {number(size)})"
            )
        mean = size / (high - low) / self.movable(subject) ** 0.5
        return (
            f"Changing the {self.value}s together by a length of at most {number(size)} (in root mean "
            f"square {share(mean)} of the range)"
        )

    def movable(self, subject: Subject) -> int:
        """How many values of a sample a small change may move."""
        return subject.inputs[0].numel()

    @staticmethod
    def range_of(subject: Subject) -> tuple[float, float]:
        """Lowest and highest value.

        Raises:
            NotApplicable: there is no range.
        """
        if subject.range is None:
            raise NotApplicable("the range of the inputs is not known ([subject.input] range)")
        return subject.range

    def over_time(self, x: Tensor) -> Tensor | None:
        """Samples [n, ...] as values over time [n, time, channels]; None: they are none."""
        return None

    def range_told(self, subject: Subject) -> str:
        """'0 to 1'."""
        low, high = self.range_of(subject)
        return f"{number(low)} to {number(high)}"

    # What can be left out

    def features(self, x: Tensor, described: list[Feature] | None) -> list[Feature]:
        """Named features of samples [n, ...], where single columns mean something.

        Args:
            described: those that the user describes.
        """
        return []

    @abstractmethod
    def parts(self, subject: Subject) -> Parts:
        """What is taken away together when an answer is explained."""

    def baseline(self, subject: Subject) -> Tensor:
        """[1, ...] the one sample that says nothing: the mean of the data."""
        return subject.moments.mean

    def absent(self, subject: Subject, rows: int) -> Tensor:
        """[b, ...] what absent parts are replaced by: the mean of the data, or b ≤ `rows` rows."""
        return self.baseline(subject)

    def unmoved(self, subject: Subject) -> Tensor | None:
        """[1, ...] values between two of which there is none, so that no path leads there; None: no such."""
        return None

    def values_of(self, x: Tensor, columns: list[int]) -> tuple[Any, ...]:
        """The index of a feature's columns, or of a channel, in samples [n, ...]."""
        return (..., columns)

    def extents(self, subject: Subject) -> tuple[int, ...]:
        """Of the axes along which neighbours lie: (height, width), or (time,).

        Raises:
            NotApplicable: values have no neighbours.
        """
        raise NotApplicable(f"the inputs are {self.noun}, without space or time to look at")

    def over_channels(self, subject: Subject, values: Tensor) -> Tensor:
        """[n, 1, *extents] → [n, ...] in the form of the samples: the same for every channel."""
        return values.expand(-1, *subject.inputs.shape[1:])

    def fillings(self, subject: Subject) -> list[tuple[Feature, str]]:
        """What can be missing, and how people fill it: 'mean', 'zero', 'most frequent', 'none'.

        Raises:
            NotApplicable: nothing is ever missing alone; with the reason.
        """
        raise NotApplicable(f"the inputs are {self.noun}, whose values are not missing one by one")

    def pad(self, x: Tensor) -> Tensor | None:
        """What those of the samples [n, ...] that are shorter are filled up with; None: nothing.

        A kind that finds something says in `padding` where it stands.
        """
        return None

    def padding(self, x: Tensor, pad: Tensor) -> Tensor:
        """[n, ...] which values of samples are filled up, and no part of them.

        They are never changed, counted or explained (`subject.padding`).
        """
        raise NotImplementedError(f"{self.name} finds padding, and says not where it stands")

    def ended(self, x: Tensor, extents: tuple[int, ...]) -> Tensor | None:
        """[n, *extents] at which places the samples [n, ...] have ended; None: at none.

        Args:
            extents: of the places that are answered for.
        """
        pad = self.pad(x)
        if pad is None:
            return None
        pads = self.padding(x, pad)
        along = [d for d in range(1, pads.ndim) if (pads.shape[d],) == extents]
        return pads.movedim(along[0], 1).flatten(2).all(2) if len(along) == 1 else None

    # One of several

    def inputs(self, subject: Subject) -> list[str]:
        """The inputs that only accompany no other, by name; none where there is one input."""
        return []

    def hiding(self, subject: Subject) -> list[str]:
        """Those of them that a mask or a length hides a part of."""
        return []

    def exchanged(self, subject: Subject, x: Tensor, name: str, donors: Tensor) -> Tensor:
        """Samples [n, ...] with one input, and what accompanies it alone, from others [n, ...]."""
        raise NotApplicable("the model takes one input")

    def scrambled(self, subject: Subject, x: Tensor, name: str, uniform: Uniform) -> Tensor:
        """Samples [n, ...] with something else where a mask or a length hides what an input holds."""
        raise NotApplicable("the model takes one input")

    # What is written

    def texts(self, subject: Subject, x: Tensor) -> Tensor:
        """[n, words] the numbers of the words of samples [n, ...].

        Raises:
            NotApplicable: there are no words.
        """
        raise NotApplicable(f"the inputs are no words but {self.noun}")

    def reworded(self, subject: Subject, x: Tensor, texts: Tensor) -> Tensor:
        """Samples [n, ...] with other words [n, words]; all else stays."""
        return texts

    def vocabulary(self, subject: Subject) -> list[str] | None:
        """The word of each number, where they are known."""
        return subject.meta.input.vocabulary

    def unwritten(self, subject: Subject, x: Tensor) -> Tensor | None:
        """[n, words] where samples have no word; None: they have one everywhere."""
        return None

    # What it meets in life

    def corruptions(self, subject: Subject) -> dict[str, Corruption]:
        """The disturbances that it meets, by name."""
        return {}

    def noise_spread(self, subject: Subject) -> Tensor:
        """[1, ...] one standard deviation of each value that can be off."""
        return subject.moments.std

    def displacements(
        self, subject: Subject, degrees: float, shift: float, grid: int
    ) -> list[Move]:
        """Ways for the thing to lie elsewhere, the furthest first: they break most.

        Raises:
            NotApplicable: it has no place that could be another.
        """
        raise NotApplicable(f"{self.noun} have no place that could be another")

    def displacement(self, degrees: float, shift: str) -> tuple[str, str]:
        """('Turning a picture by at most … and shifting it by …', 'turned by …, shifted by …')."""
        raise NotApplicable(f"{self.noun} have no place that could be another")

    def rescalings(self, subject: Subject) -> Ways:
        """Mistakes in preparing inputs that people make: name → the inputs [n, ...] in that form."""
        return {
            "standardised": self.standardised,
            "times 255": lambda _, x: x * 255,
            "divided by 255": lambda _, x: x / 255,
        }

    def standardised(self, subject: Subject, x: Tensor) -> Tensor:
        m = subject.moments
        if self.common_unit:
            return (x - m.mean.mean()) / self.spread(subject)
        return (x - m.mean) / torch.where(m.std > 0, m.std, 1.0)

    def spread(self, subject: Subject) -> Tensor:
        """One standard deviation: of each value [1, ...], or of all [] where they share a unit."""
        if self.common_unit:
            x = full(subject.inputs)
            return x[~x.isnan()].std().clamp_min(1e-6).to(subject.device)
        return full(subject.moments.std).clamp_min(1e-6)

    def raw(self, subject: Subject, x: Tensor) -> Tensor:
        """[n, k] samples as rows whose distances mean something without any model."""
        return (
            unpadded(subject, x, full(x) - subject.moments.mean.cpu()) / self.spread(subject).cpu()
        ).flatten(1)

    def near(self, subject: Subject, training: Tensor) -> tuple[float, Tensor]:
        """(the largest difference that a copy may have, the unit of each value [1, ...])."""
        unit = torch.ones_like(training[:1].float())
        if subject.range is None:
            return 0.0, unit
        return (subject.range[1] - subject.range[0]) / 255, unit

    # How it is drawn

    def tile(self, subject: Subject, x: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        """One sample as a picture of [h, w] or [c, h, w]."""
        return x

    def drawn_map(
        self, subject: Subject, values: NDArray[np.floating[Any]]
    ) -> NDArray[np.floating[Any]]:
        """A number for each value of one sample, as [h, w]."""
        return values

    def examples(
        self, subject: Subject, original: Tensor, changed: Tensor, said: Sequence[str]
    ) -> tuple[list[Table], list[Figure]]:
        """A few samples [n, ...] before and after; `said` is how each answer went."""
        return [], []


Room = InputKind


def inferred(x: Tensor, first: FirstLayer | None) -> tuple[str, str]:
    """The kind that samples [n, ...] are of, and why.

    Args:
        first: the layer that they come to first; None where it cannot be told.

    Raises:
        AuditError: none fits, or several do.
    """
    found = [(name, why) for name in rooms(INPUTS) if (why := room(INPUTS, name).fits(x, first))]
    if len(found) == 1:
        return found[0]
    shape = tuple(x.shape[1:])
    if not found:
        raise AuditError(
            f"Samples of shape {shape} are neither rows, series nor images; give [subject.input] kind."
        )
    raise AuditError(
        f"The data may be of {len(found)} kinds ("
        + "; or ".join(f"{name}: {why}" for name, why in found)
        + "); say which under [subject.input] kind."
    )


def unpadded(subject: Subject, x: Tensor, changed: Tensor) -> Tensor:
    """Samples [n, ...] after a change, with the padding as it was."""
    pads = subject.padding(x)
    return changed if pads is None else torch.where(pads, x, changed)


def normal(uniform: Uniform, stream: int, shape: tuple[int, ...]) -> Tensor:
    """[n, *shape] standard normal numbers that belong to the samples (Box and Muller 1958)."""
    u, v = uniform(stream, shape).clamp_min(1e-7), uniform(stream + 1, shape)
    return (-2 * u.log()).sqrt() * (2 * math.pi * v).cos()


def spaced(x: Tensor, rows: int) -> Tensor:
    """At most so many of samples [n, ...], evenly spaced."""
    return x[torch.linspace(0, len(x) - 1, min(rows, len(x))).round().long()]


def blocks(extent: int, count: int) -> Tensor:
    """[extent] which of `count` blocks of about the same size each place lies in."""
    return (torch.arange(extent) * count) // extent

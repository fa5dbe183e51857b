"""What tasks share in which each unit of a sample, a token or a pixel, is one of several classes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import leaky_relu, softplus

from audit import statistics
from audit.decision import name_classes, note_missing
from audit.errors import AuditError
from audit.meta import SubjectMeta
from audit.outputs import decided
from audit.record import Metric, Slice
from audit.rooms import INPUTS, room
from audit.scores import how_scored, log_odds
from audit.tasks import Asked, Reading, Settle, Task, View
from audit.words import share

if TYPE_CHECKING:
    from audit.inputs import InputKind
    from audit.subject import Subject
    from audit.subject.builder import Draft

NONE = -1  # the label of a unit that is not judged
IGNORED = (-100, 255, NONE)  # what people write for it
BACKGROUND = (
    "background",
    "o",
    "outside",
)  # what people call the class of what is no object, or no name
HALF = 0.5 + 1e-6
WRONG = 0.1  # of its weight, that a unit which is wrong already keeps in what an attack climbs
APART = 1e-4  # at least, of the two scores of the decision that an attack turns
SURE = 3.0  # standard errors


class EachUnit(Task):
    """Each unit is one of several classes.

    The answer to a sample is as good as the mean recall of the classes that occur in it, so that what fills
    most of a picture or a sentence does not outvote the rest. It is good where that is above one half.
    Answers are [n, classes, units], labels [n, units].
    """

    has_classes: ClassVar[bool] = True
    classifies: ClassVar[bool] = True
    good: ClassVar[str] = "mostly right"
    quality: ClassVar[str] = "mean recall of the classes in a sample"
    share_good: ClassVar[str] = "share of samples answered mostly right"
    robust: ClassVar[str] = "share of samples answered mostly right under attack"
    robust_metric: ClassVar[str] = "robust_share"
    tiny_grid: ClassVar[tuple[int, ...]]
    tiny_width: ClassVar[int] = 12  # three classes, four units

    def tiny_answers(self, answers: Tensor) -> Tensor:
        return answers.reshape(-1, 3, *self.tiny_grid)

    def tiny_labels(self, answers: Tensor, generator: torch.Generator) -> Tensor | None:
        right = answers.argmax(1)
        wrong = torch.rand(right.shape, generator=generator) < 0.1
        return torch.where(wrong, (right + 1) % 3, right)

    # How it is read

    def goes_with(self, kind: InputKind) -> bool:
        return kind.axes_of_places == self.units

    def read(self, scores: Tensor, asked: Asked) -> Reading | None:
        given, labels = asked.meta.task == self.name, asked.labels
        single = scores.ndim == self.units + 1
        if not (scores.ndim == self.units + 2 or (single and (given or self.units > 1))):
            return None
        kind = room(INPUTS, str(asked.meta.input.kind))
        if not given and not (labels.given and self.goes_with(kind)):
            return None
        ways = [last for last in (False, True) if not (single and last)]
        if labels.given:
            due = placed(labels.shape[1:], self.units)
            fitting = [last for last in ways if axes(scores, self.units, last)[1] == due]
            if not (fitting or given or due) or not (labels.whole or given):
                return None
            ways = (
                fitting or ways[:1]
            )  # what is wrong with the labels is told where they are numbered
        if asked.meta.class_axis is not None:
            ways = [last for last in ways if single or last == (asked.meta.class_axis == "last")]
        if not given:
            ways = [last for last in ways if self.holds(scores, last, asked)]
        if not ways:
            return None
        last = ways[0] if len(ways) == 1 else self.better(scores, asked)
        rows = axes(scores, self.units, last)[0]
        output, reason = how_scored(rows[:, 0] if rows.shape[1] == 1 else rows)
        return Reading(output, f"a score for each class and {kind.place}; {reason}", last)

    def holds(self, scores: Tensor, last: bool, asked: Asked) -> bool:
        """Are there as many scores as the labels need, or as classes are given?"""
        k = axes(scores, self.units, last)[0].shape[1]
        named = len(asked.meta.classes) if asked.meta.classes else k
        ignored = {float(i) for i in (*IGNORED, asked.meta.ignore_label) if i is not None}
        most = max((v for v in asked.labels.values if v not in ignored), default=0.0)
        return max(k, 2) == named if asked.meta.classes else most < max(k, 2)

    def better(self, scores: Tensor, asked: Asked) -> bool:
        """Of two ways to lay the axes, is the one with the classes last the right one?

        Raises:
            AuditError: neither is clearly more accurate than the other.
        """
        if asked.y is not None:
            y = asked.y.reshape(len(scores), *axes(scores, self.units, False)[1])
            first, last = (
                (scores.argmax(axis) == y).double().flatten(1).mean(1) for axis in (1, -1)
            )
            gain = last - first
            if abs(float(gain.mean())) > SURE * float(gain.std()) / len(gain) ** 0.5:
                return bool(gain.mean() > 0)
        raise AuditError(
            f"The model returns scores of shape {shaped(scores)}, and nothing tells which axis "
            'has a score for each class; write class_axis = "first" or class_axis = "last" under [subject].'
        )

    def name_classes(self, meta: SubjectMeta, k: int, settle: Settle) -> None:
        name_classes(meta, k, settle)

    # Its labels

    def number_labels(self, draft: Draft) -> None:
        """[n, units] indices of the classes, −1 where a unit is not judged."""
        arrays = draft.arrays
        x, trained = arrays.training or (arrays.inputs, None)
        if trained is not None:
            arrays.training = x, self.numbered(draft, x, trained, "training labels", [])
        if arrays.labels is None:
            return
        y = self.numbered(draft, arrays.inputs, arrays.labels, "labels", draft.notes)
        arrays.labels = y
        note_missing(draft, y)

    def numbered(self, draft: Draft, x: Tensor, y: Tensor, what: str, notes: list[str]) -> Tensor:
        """Labels of inputs [n, ...] as indices; what is to be said of them is noted.

        Raises:
            AuditError: they are none for such units.
        """
        k, meta, extents = len(draft.classes), draft.meta, draft.extents
        place = draft.kind.place
        if placed(y.shape[1:], self.units) != extents:
            due = placed(y.shape[1:], self.units)
            wrap = ""
            if due is not None and self.units > 1:
                code = f"torch.nn.functional.interpolate(scores, {due})"
                wrap = f", or wrap the model so that it answers for all: {code}"
            raise AuditError(
                f"The {what} have shape {shaped(y)} and the model answers for "
                f"{' x '.join(map(str, extents))} {place}s; give one class index for each{wrap}."
            )
        y = y.reshape(len(y), *extents)
        if not bool((y == y.round()).all()):
            raise AuditError(
                f"The {what} are not whole numbers; give a class index for each {place}."
            )
        y = y.long()
        ignored = [meta.ignore_label] if meta.ignore_label is not None else list(IGNORED)
        ignored = [i for i in ignored if not 0 <= i < k]
        judged = torch.ones_like(y, dtype=torch.bool)
        for value in ignored:
            judged &= y != value
        outside = y[judged & ((y < 0) | (y >= k))]
        if len(outside):
            raise AuditError(
                f"{what.capitalize()} hold {int(outside[0])}, and the model has {k} classes (0 to {k - 1}); "
                f"number them as the model's outputs are numbered, or write ignore_label = "
                f"{int(outside[0])} under [subject] if such {place}s are not to be judged."
            )
        ended = draft.kind.ended(x, extents)
        if ended is not None:
            judged &= ~ended
        seen = ", ".join(str(v) for v in ignored if bool((y == v).any()))
        of = f"are labelled {seen} or are padding" if seen else "are padding"
        note_unjudged(notes, judged, f"{place}s", of)
        kept = (slice(None), *(slice(None, None, meta.stride or 1),) * self.units)
        y = torch.where(judged, y, NONE)[kept].flatten(1)
        empty = int((y == NONE).all(1).sum())
        if empty:
            raise AuditError(
                f"{empty} of {len(y)} samples hold no {place} that has a label to be judged; drop them."
            )
        return y

    # When an answer is good

    def agreement(self, said: Tensor, of: Tensor) -> Tensor:
        """[n] mean over the classes that occur in `of` of the share of their units that is said alike.

        Args:
            said, of: [n, units] class indices; below 0: none.
        """
        weight = self.weights(of)
        return (weight * (said.to(of.device) == of)).sum(1)

    def weights(self, of: Tensor) -> Tensor:
        """[n, units] what each unit counts: the classes of a sample count alike, in sum 1."""
        judged = of >= 0
        k = int(of.max().clamp_min(0)) + 1
        cell = of.clamp_min(0) + k * torch.arange(len(of), device=of.device)[:, None]
        counts = torch.bincount(cell[judged], minlength=k * len(of)).reshape(len(of), k)
        present = (counts > 0).sum(1, keepdim=True).clamp_min(1)
        own = counts.gather(1, of.clamp_min(0)).clamp_min(1)
        return judged.double() / (own * present)

    def changed(self, subject: Subject, before: Tensor, after: Tensor) -> Tensor:
        """No more than half of it is as it was."""
        first, other = decided(before), decided(after)
        lost = (first < 0).any(1) != (other < 0).any(1)
        return lost | ((first >= 0).all(1) & (self.agreement(other, first) < HALF))

    def quality_of(self, subject: Subject, answers: Tensor, y: Tensor) -> Tensor:
        """The mean recall of the classes that occur in the sample."""
        return self.agreement(decided(answers), y.to(answers.device))

    def mean_quality(
        self,
        subject: Subject,
        answers: Tensor,
        y: Tensor,
        *,
        clusters: Any,
        prefix: str,
        where: Slice,
    ) -> Metric:
        return statistics.mean(
            f"{prefix}recall_in_sample",
            self.quality_of(subject, answers, y).numpy(),
            clusters=clusters,
            direction="higher",
            slice=where,
            edges=(0, 1),
        )

    def told_change(self, before: Metric, after: Metric) -> str:
        old, new = share(float(before.value or 0)), share(float(after.value or 0))
        return f"the mean recall in a sample goes from {old} to {new}"

    def text(self, subject: Subject, answer: Tensor) -> str:
        """The classes in it, by how much of it they are."""
        of = answer.argmax(0).bincount(minlength=len(subject.classes)).double() / answer.shape[1]
        first = of.argsort(descending=True)[:3].tolist()
        return ", ".join(f"{subject.classes[i]} {share(float(of[i]))}" for i in first if of[i] > 0)

    def to_explain(self, subject: Subject, logits: Tensor, output: str = "") -> Tensor:
        """[n] the surest unit of the rarest class that is answered, and that class, as one index."""
        k, units = logits.shape[1:]
        said = logits.argmax(1)
        counts = torch.nn.functional.one_hot(said, k).sum(1)
        rarest = counts.masked_fill(counts == 0, units + 1).argmin(1)
        sure = logits.log_softmax(1).amax(1).masked_fill(said != rarest[:, None], -torch.inf)
        return rarest * units + sure.argmax(1)

    def grid(self, subject: Subject) -> tuple[int, ...]:
        stride = subject.meta.stride or 1
        return tuple(-(-extent // stride) for extent in subject.known.extents)

    def told_target(self, subject: Subject, target: int) -> str:
        """'dog at pixel (12, 40)'."""
        grid, stride = self.grid(subject), subject.meta.stride or 1
        units = math.prod(grid)
        at = [int(i) * stride for i in np.unravel_index(target % units, grid)]
        place = f"({', '.join(map(str, at))})" if len(at) > 1 else str(at[0] + 1)
        return f"{subject.classes[target // units]} at {subject.kind.place} {place}"

    def explained(self, subject: Subject, answers: Tensor, target: Tensor) -> Tensor:
        """[n] log-odds of a class at one unit."""
        k, units = answers.shape[1:]
        at = (target % units)[:, None, None].expand(-1, k, 1)
        return log_odds(answers.gather(2, at)[..., 0], target // units)

    def unit(self, subject: Subject) -> str:
        return f"{subject.kind.place}s"

    def background(self, subject: Subject) -> int | None:
        """The class whose units are part of nothing: as given, or called so; None: no class is."""
        named = subject.meta.background
        for index, name in enumerate(subject.classes):
            if name == named or (named is None and name.lower() in BACKGROUND):
                return index
        return None

    def flat(self, answers: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        judged = y >= 0
        sample = torch.arange(len(y))[:, None].expand_as(y)[judged]
        return answers.movedim(1, -1)[judged], y[judged], sample

    # What an attack has to achieve

    def as_decision(self, subject: Subject, x: Tensor, y: Tensor) -> tuple[Tensor, View]:
        """Mostly right or not.

        What an attack climbs is pulled by units that are right still, as in SegPGD (Gu et al. 2022,
        section 3.2).
        """
        weight = self.weights(y)
        of = y.clamp_min(0)

        def view(scores: Tensor, rows: Tensor | None) -> Tensor:
            own, w = (of, weight) if rows is None else (of[rows], weight[rows])
            w = w.to(scores)
            true = scores.gather(1, own[:, None])[:, 0]
            margin = true - scores.scatter(1, own[:, None], -torch.inf).amax(1)
            good = (w * (scores.argmax(1) == own)).sum(1) > HALF
            pull = (w * leaky_relu(margin, WRONG)).sum(1)
            value = torch.where(good, softplus(pull) + APART, -softplus(-pull) - APART)
            return torch.stack([value, torch.zeros_like(value)], 1)

        return torch.zeros(len(y), dtype=torch.long, device=y.device), view

    def good_before(self, subject: Subject, answers: Tensor, y: Tensor) -> NDArray[Any]:
        good: NDArray[Any] = (self.quality_of(subject, answers, y) > HALF).numpy()
        return good

    def best_constant(self, subject: Subject, answers: Tensor, y: Tensor) -> float:
        """One class everywhere is mostly right only where no other occurs."""
        top = y.amax(1)
        alone = (y == top[:, None]) | (y < 0)
        only = top[alone.all(1)]
        return float(only.bincount().max() / len(y)) if len(only) else 0.0


def note_unjudged(notes: list[str], judged: Tensor, places: str, why: str) -> None:
    """Note how many of the units are not judged."""
    left = float((~judged).double().mean())
    if left:
        notes.append(f"{share(left)} of the {places} {why}, and are not judged.")


def shaped(values: Tensor) -> str:
    """'[n, 32, 32]'."""
    return f"[{', '.join(['n', *map(str, values.shape[1:])])}]"


def placed(shape: tuple[int, ...], units: int) -> tuple[int, ...] | None:
    """The extents of one sample's labels, an axis of length 1 before them left out; None: not so many."""
    if len(shape) == units + 1 and shape[0] == 1:
        shape = shape[1:]
    return tuple(shape) if len(shape) == units else None


def axes(scores: Tensor, units: int, last: bool) -> tuple[Tensor, tuple[int, ...]]:
    """Scores as rows [m, classes], and the extents of the units."""
    if scores.ndim == units + 1:
        scores = scores[:, None]
    elif last:
        scores = scores.movedim(-1, 1)
    return scores.movedim(1, -1).flatten(0, -2), tuple(scores.shape[2:])


def continues(ids: Tensor, labels: Tensor) -> bool:
    """Are labels [n, t] the tokens themselves, as they stand or each the next, but for those not judged?"""
    if labels.shape != ids.shape:
        return False
    for near, after in ((labels, ids), (labels[:, :-1], ids[:, 1:])):
        judged = near >= 0
        if bool(judged.any()) and bool((near == after)[judged].all()):
            return True
    return False

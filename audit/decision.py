"""What tasks share whose answer is one of several classes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit import statistics
from audit.errors import AuditError
from audit.labels import Labels
from audit.meta import SubjectMeta
from audit.outputs import decided
from audit.record import Metric, Slice
from audit.rooms import TASKS, room
from audit.scores import how_scored, numbered, width
from audit.tasks import Asked, Reading, Settle, Task, View
from audit.words import amount

if TYPE_CHECKING:
    from audit.subject import Subject
    from audit.subject.builder import Draft


class Decision(Task):
    """An answer is one of several classes, and right or wrong."""

    decides: ClassVar[bool] = True
    has_classes: ClassVar[bool] = True
    good: ClassVar[str] = "right"
    quality: ClassVar[str] = "accuracy"
    share_good: ClassVar[str] = "accuracy"
    robust: ClassVar[str] = "robust accuracy"
    robust_metric: ClassVar[str] = "robust_accuracy"

    def changed(self, subject: Subject, before: Tensor, after: Tensor) -> Tensor:
        return decided(before) != decided(after)

    def quality_of(self, subject: Subject, answers: Tensor, y: Tensor) -> Tensor:
        return (decided(answers) == y).double()

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
        return statistics.proportion(
            f"{prefix}accuracy",
            self.quality_of(subject, answers, y).numpy(),
            clusters=clusters,
            slice=where,
        )

    def told_change(self, before: Metric, after: Metric) -> str:
        return f"accuracy goes from {amount(before)} to {amount(after)}"

    def text(self, subject: Subject, answer: Tensor) -> str:
        return subject.classes[int(answer.argmax())]

    def alternatives(self, subject: Subject) -> int:
        return len(subject.classes)

    def as_decision(self, subject: Subject, x: Tensor, y: Tensor) -> tuple[Tensor, View]:
        return y, lambda scores, _: scores

    def good_before(self, subject: Subject, answers: Tensor, y: Tensor) -> NDArray[Any]:
        right: NDArray[Any] = (decided(answers) == y).numpy()
        return right

    def best_constant(self, subject: Subject, answers: Tensor, y: Tensor) -> float:
        return float(np.bincount(y.numpy()).max() / len(y))

    def number_labels(self, draft: Draft) -> None:
        """Indices of the classes."""
        arrays, classes, k = draft.arrays, draft.classes, len(draft.classes)
        trained = None if arrays.training is None else arrays.training[1]
        first = arrays.labels if arrays.labels is not None else trained
        if first is None:
            return
        labels = Labels.of(first)
        numbering, reason = labels.numbering(classes)
        if labels.several and labels.fit(k):
            reason = "one-hot rows: the class is the column that holds the 1"
        if reason:
            read_as = (
                classes
                if labels.several or numbering is None
                else {f"{value:g}": classes[i] for value, i in numbering.items()}
            )
            draft.add_fact("labels", read_as, reason)
        if arrays.training is not None and trained is not None:
            trained = self.indices(trained, k, "training labels", numbering)
            arrays.training = arrays.training[0], trained
        if arrays.labels is None:
            return
        y = arrays.labels = self.indices(arrays.labels, k, "labels", numbering)
        note_missing(draft, y)

    def indices(self, y: Tensor, k: int, what: str, numbering: dict[float, int] | None) -> Tensor:
        """Labels as indices of k classes.

        Args:
            numbering: value → index, where the labels are none themselves.

        Raises:
            AuditError: they are none; the sentence says how.
        """
        if y.ndim > 1:
            if not Labels.of(y).fit(k):
                raise AuditError(
                    f"The {what} have shape {list(y.shape)} and the model has {k} classes; give one "
                    f"class index a sample, or one-hot rows of {k} columns."
                )
            return y.argmax(1)
        if numbering is not None:
            strangers = sorted(set(y.double().unique().tolist()) - set(numbering))
            if not strangers:
                return numbered(y, numbering)
            raise AuditError(
                f"The {what} hold {strangers[0]:g}, which is none of "
                f"{', '.join(f'{v:g}' for v in numbering)}, as which the labels are read."
            )
        if y.is_floating_point() and not bool((y == y.round()).all()):
            raise AuditError(
                f"The task is {self.name} and the {what} are not whole numbers; give class "
                'indices, or task = "regression" in [subject].'
            )
        low, high = int(y.min()), int(y.max())
        if low < 0 or high >= k:
            raise AuditError(
                f"{what.capitalize()} run from {low} to {high} and the model has {k} classes (0 to "
                f"{k - 1}); number the labels as the model's outputs are numbered, or write their "
                "names, in the order of the outputs, as classes under [subject]."
            )
        return y.long()


class Classification(Decision):
    """A score for each class, or one score for two."""

    has_probabilities: ClassVar[bool] = True
    classifies: ClassVar[bool] = True

    def tiny_labels(self, answers: Tensor, generator: torch.Generator) -> Tensor:
        right = answers.argmax(1)
        wrong = torch.rand(len(right), generator=generator) < 0.1
        return torch.where(wrong, (right + 1) % answers.shape[1], right)

    def classes_read(self, scores: Tensor) -> int | None:
        return max(2, width(scores))

    def gain(self, scores: Tensor, reading: Reading, asked: Asked) -> float | None:
        right, most = self.accuracy(scores, reading, asked)
        if right is None:
            return None
        return (right - most) / math.sqrt(max(most * (1 - most), 0.05) / len(scores))

    def shown(self, scores: Tensor, reading: Reading, asked: Asked) -> str:
        right, _ = self.accuracy(scores, reading, asked)
        return "" if right is None else f", right on {right:.0%}"

    def accuracy(
        self, scores: Tensor, reading: Reading, asked: Asked
    ) -> tuple[float | None, float]:
        """Share right, or None where the labels fit no such classes; and the best constant answer's."""
        k = max(2, width(scores))
        names = asked.meta.classes or [str(i) for i in range(k)]
        if asked.y is None or len(names) != k or not asked.labels.fit(k, names):
            return None, 0.0
        y = numbered(asked.y, asked.labels.numbering(names)[0])
        said = scores.double().reshape(len(scores), -1)
        cut = 0.5 if reading.output == "sigmoid" else 0.0
        answers = said.argmax(1) if said.shape[1] > 1 else (said[:, 0] > cut).long()
        return float((answers == y).double().mean()), float(y.bincount().max() / len(y))

    def name_classes(self, meta: SubjectMeta, k: int, settle: Settle) -> None:
        name_classes(meta, k, settle)


def name_classes(meta: SubjectMeta, k: int, settle: Settle) -> None:
    """Names for the classes of k scores.

    Raises:
        AuditError: as many are not given.
    """
    k = max(k, 2)
    names = [str(i) for i in range(k)]
    meta.classes = settle(
        "classes", meta.classes, lambda: (names, f"the model has {k} classes, unnamed")
    )
    if len(meta.classes or []) != k:
        raise AuditError(
            f"{len(meta.classes or [])} class names are given and the model has {k} classes; "
            "correct [subject] classes."
        )


def note_missing(draft: Draft, y: Tensor) -> None:
    """Note which classes no label is.

    Args:
        y: [...] indices of the classes.
    """
    counts = y[y >= 0].bincount(minlength=len(draft.classes))
    missing = [c for c, count in zip(draft.classes, counts.tolist(), strict=True) if not count]
    if missing:
        shown = ", ".join(missing[:5]) + (" …" if len(missing) > 5 else "")
        draft.notes.append(
            f"{len(missing)} of {len(draft.classes)} classes never occur in the evaluation data ({shown}): "
            "nothing is known of how the model treats them."
        )


def scored_classes(scores: Tensor, asked: Asked) -> Reading | None:
    """A score for each class."""
    k, labels, given = width(scores), asked.labels, is_classification(asked.meta.task)
    if k < 2 or not (given or labels.whole or not labels.given or labels.fit(k)):
        return None
    if labels.several and not given and not labels.fit(k):
        return None
    return Reading(*how_scored(scores))


def one_score(scores: Tensor, asked: Asked) -> Reading | None:
    """One score and two classes."""
    labels, given = asked.labels, is_classification(asked.meta.task)
    if width(scores) != 1 or not (given or not labels.given or labels.truths or labels.two):
        return None
    output, reason = how_scored(scores)
    said = "" if not labels.given else ", labels " + " and ".join(f"{v:g}" for v in labels.values)
    return Reading(output, reason + (said if len(labels.values) <= 2 else ""))


def is_classification(task: str | None) -> bool:
    """Was such a task given?"""
    return task is not None and isinstance(room(TASKS, task), Classification)

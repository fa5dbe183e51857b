"""What an answer is: one file a task.

A task reads what the model returned, numbers the labels, says when an answer is good and by how much,
what an attack has to achieve, which answer without any model there is to beat, and how an answer is
worded. Checks and methods ask a task for what they need (`subject.task.quality_of(…)`) or for a capability
(`subject.task.decides`), never for its name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.errors import NotApplicable
from audit.labels import Labels
from audit.meta import Output, SubjectMeta
from audit.scores import log_odds

if TYPE_CHECKING:
    from audit.record import Metric, Slice
    from audit.retrieval import Gallery
    from audit.subject import Subject
    from audit.subject.builder import Draft
    from audit.subject.samples import Samples

Settle = Callable[[str, Any, Callable[[], Any]], Any]
View = Callable[[Tensor, Tensor | None], Tensor]  # (scores, which rows of the batch) → [m, classes]


@dataclass(frozen=True)
class Asked:
    """The samples that the model was asked, and what is known about them."""

    inputs: Tensor  # as the network gets them, after preprocessing
    y: Tensor | None  # [n] or [n, k], as they came
    labels: Labels
    meta: SubjectMeta


@dataclass(frozen=True)
class Reading:
    """One way to read a returned tensor, and why."""

    output: Output
    reason: str


# What a check may ask of a task, and what is said where it lacks it.
LACKS = {
    "judged": "the task is {}, whose answers are held against no label yet",
    "decides": "the task is {}, whose answers are not classes",
    "has_probabilities": "the task is {}, not classification",
    "valued": "the task is {}, whose answers are not numbers on the scale of the labels",
    "thresholded": "the task is {}, whose answers are held against no threshold",
    "several_labels": "the task is {}, whose answers are not several labels a sample",
    "compares": "the task is {}, whose answers are not compared with one another",
    "supervised": "the task is {}, which is not learnt from such labels",
}


class Task(ABC):
    """What an answer is. What it does not override it cannot do, and says so.

    Attributes:
        name: of its file; `[subject] task` chooses it.
        judged: can an answer be held against a label? decides: is it one of several classes?
        has_probabilities: are its scores turned into probabilities of the classes?
        valued: is it a number on the scale of the labels? thresholded: a score, held against a
        threshold? several_labels: is it a yes or no for each of several labels? compares: is it a place,
        judged by what lies next to it? supervised: does the model learn from such labels?
        has_zero: does the explained score have a zero that speaks neither for the answer nor against it?
        stands: the share of samples that stand against an attack, as a rule: passes are declared by it.
        good: what a good answer is: 'right'. quality: what is averaged over samples: 'accuracy'.
        share_good: the share of good answers, and robust: the same under attack.
        robust_metric: its name in the record. quality_unit: of a change of quality; empty: none.
    """

    name: str
    judged: ClassVar[bool] = True
    decides: ClassVar[bool] = False
    has_probabilities: ClassVar[bool] = False
    valued: ClassVar[bool] = False
    thresholded: ClassVar[bool] = False
    several_labels: ClassVar[bool] = False
    compares: ClassVar[bool] = False
    supervised: ClassVar[bool] = True
    has_zero: ClassVar[bool] = True
    stands: ClassVar[float] = 0.8
    good: ClassVar[str]
    quality: ClassVar[str]
    share_good: ClassVar[str]
    robust: ClassVar[str]
    robust_metric: ClassVar[str]
    quality_unit: ClassVar[str] = ""

    # What it is told by

    @abstractmethod
    def read(self, scores: Tensor, asked: Asked) -> Reading | None:
        """How a returned tensor is read as answers of this task; None: it cannot be."""

    def classes_read(self, scores: Tensor) -> int | None:
        """The number of classes that such scores speak of; None: of none."""
        return None

    def gain(self, scores: Tensor, reading: Reading, asked: Asked) -> float | None:
        """How far above the best constant answer, in standard errors; None: cannot be told."""
        return None

    def shown(self, scores: Tensor, reading: Reading, asked: Asked) -> str:
        """', right on 57 %', beside a reading that is offered."""
        return ""

    def unasked(self, told: str, reading: Reading, asked: Asked) -> str:
        """What is to be written before it is read so, where nobody asked for it; empty: nothing.

        Args:
            told: 'output 1 (logits) of shape [n, 3]'.
        """
        return ""

    # What its contract is tried on

    tiny_width: ClassVar[int] = 1  # numbers that a tiny model returns for a sample

    @abstractmethod
    def tiny_labels(self, answers: Tensor, generator: torch.Generator) -> Tensor:
        """Labels that a model of such answers [n, tiny_width] mostly gets right."""

    # What it needs to know

    def name_classes(self, meta: SubjectMeta, k: int, settle: Settle) -> None:
        """Names for the classes, where there are some; k: scores in a row."""
        return

    def number_labels(self, draft: Draft) -> None:
        """The labels (`draft.arrays`) as the task wants them.

        Raises:
            AuditError: they go with no answers of this task.
        """
        return

    def settle_scale(self, draft: Draft) -> None:
        """The scale that answers are held against, where there is one."""
        return

    def arrange(self, samples: Samples, draft: Draft) -> Samples:
        """The evaluation data as they are asked about."""
        return samples

    def threshold(self, meta: SubjectMeta) -> float | None:
        """The score from which on the second class is answered; None: there is none."""
        return None

    def require(self, subject: Subject) -> None:
        """Raise NotApplicable where the answers are not of the form that is judged."""
        return

    # What answers are compared with

    def gallery(self, subject: Subject) -> Gallery:
        """The answers to all evaluation samples, where they are compared with one another.

        Raises:
            NotApplicable: they are not.
        """
        raise NotApplicable(LACKS["compares"].format(self.name))

    # When an answer is good

    def spread(self, subject: Subject) -> float:
        """What a change of the explained score is counted in."""
        return 1.0

    @property
    def explained_unit(self) -> str:
        """Of the explained score."""
        return self.quality_unit or "log-odds"

    def explained_of(self, subject: Subject, answers: Tensor) -> Tensor:
        """[n] what of each answer is explained: the class that is answered."""
        return answers.argmax(1)

    def explained(self, subject: Subject, answers: Tensor, target: Tensor) -> Tensor:
        """[n] the score whose parts an explanation shows: the log-odds of the target class."""
        return log_odds(answers, target)

    @abstractmethod
    def changed(self, subject: Subject, before: Tensor, after: Tensor) -> Tensor:
        """[n] is it another answer?

        Args:
            before, after: [n, classes] logits, or [n, 1] values.
        """

    @abstractmethod
    def quality_of(self, subject: Subject, answers: Tensor, y: Tensor) -> Tensor:
        """[n] how good each answer is; the higher the better."""

    @property
    def quality_change(self) -> dict[str, Any]:
        """What `statistics.mean` is to know of a change of quality: its unit, or its edges."""
        return {"unit": self.quality_unit} if self.quality_unit else {"edges": (-1, 1)}

    @abstractmethod
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
        """The quality over some samples, as a metric.

        Args:
            prefix: of its name.
        """

    @abstractmethod
    def told_change(self, before: Metric, after: Metric) -> str:
        """'accuracy goes from 85 % to 82 % (79 %–85 %)', of two mean qualities."""

    @abstractmethod
    def text(self, subject: Subject, answer: Tensor) -> str:
        """One answer, [classes] or [1], as a reader wants it."""

    def told_move(self, subject: Subject, before: Tensor, after: Tensor) -> str:
        """'3 → 8', of the answers to a sample before and after a change."""
        return f"{self.text(subject, before)} → {self.text(subject, after)}"

    # What an attack has to achieve

    def alternatives(self, subject: Subject) -> int:
        """Classes, the right one among them, that an attack may drive an answer to."""
        return 2

    def as_decision(self, subject: Subject, x: Tensor, y: Tensor) -> tuple[Tensor, View]:
        """The answers to a batch as a classification to be made wrong.

        Returns:
            ([n] the class to be left; the subject's scores → those of that classification).
        """
        raise NotApplicable(f"the task is {self.name}, whose answers nobody can attack here")

    def good_before(self, subject: Subject, answers: Tensor, y: Tensor) -> NDArray[Any]:
        """[n] was the answer good before an attack?"""
        raise NotApplicable(f"the task is {self.name}, whose answers nobody can attack here")

    def best_constant(self, subject: Subject, answers: Tensor, y: Tensor) -> float:
        """Share of good answers of the best constant one: what there is to beat."""
        raise NotApplicable(f"the task is {self.name}, which no constant answer does")


Room = Task

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
from torch import Tensor, nn

from audit.errors import NotApplicable
from audit.labels import Labels
from audit.meta import Output, SubjectMeta
from audit.record import Metric, Slice
from audit.scores import log_odds

if TYPE_CHECKING:
    from audit.inputs import InputKind
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
    classes_last: bool = False  # where units have answers: do their scores lie on the last axis?
    sure: bool = False  # do the labels themselves speak for it, beyond that it fits?


# What a check may ask of a task, and what is said where it lacks it.
LACKS = {
    "judged": "the task is {}, whose answers are held against no label yet",
    "decides": "the task is {}, whose answers are not one class a sample",
    "has_probabilities": "the task is {}, whose answers are not one class a sample",
    "classifies": "the task is {}, not classification",
    "has_classes": "the task is {}, whose answers are not classes",
    "valued": "the task is {}, whose answers are not numbers on the scale of the labels",
    "thresholded": "the task is {}, whose answers are held against no threshold",
    "predicts_next": "the task is {}, which predicts no next token",
    "regions": "the task is {}, whose answers form no regions",
    "forecasts": "the task is {}, which looks no steps ahead",
    "ranks_events": "the task is {}, whose answers are no risks of an event",
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
        has_classes: are answers classes, of samples or of each of their units? classifies: and are there
        probabilities of them?
        units: the axes along which a sample's units lie, each with an answer of its own; 0: the sample
        has one answer, [n, classes] or [n, 1]; else they are [n, classes, units].
        located: do units lie where the input's values lie, so that they move with them? regions:
        do units of one class that touch belong together? predicts_next: is an answer
        the token that comes next?
        valued: is it a number on the scale of the labels? thresholded: a score, held against a
        threshold? forecasts: is it steps ahead of its input? ranks_events: is it a
        risk, held against the order of events? several_labels: is it a yes or no for each
        of several labels? compares: is it a place, judged by what lies next to it? supervised: does the
        model learn from such labels?
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
    has_classes: ClassVar[bool] = False
    classifies: ClassVar[bool] = False
    units: ClassVar[int] = 0
    located: ClassVar[bool] = False
    regions: ClassVar[bool] = False
    predicts_next: ClassVar[bool] = False
    valued: ClassVar[bool] = False
    thresholded: ClassVar[bool] = False
    forecasts: ClassVar[bool] = False
    ranks_events: ClassVar[bool] = False
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

    def goes_with(self, kind: InputKind) -> bool:
        """Can samples of that kind be answered so?"""
        return True

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

    def doubted(self, told: str, scores: Tensor, reading: Reading, asked: Asked) -> str:
        """What speaks against this reading, and the line to write; empty: nothing."""
        return ""

    # What its contract is tried on

    tiny_width: ClassVar[int] = 1  # numbers that a tiny model returns for a sample

    def tiny_model(self, x: Tensor) -> nn.Module | None:
        """A model of inputs [n, ...]; None: any network will do that returns [n, tiny_width]."""
        return None

    def tiny_meta(self, kind: InputKind, x: Tensor) -> dict[str, Any]:
        """What is said of a tiny model's answers to inputs [n, ...] of a kind."""
        return {}

    @abstractmethod
    def tiny_labels(self, answers: Tensor, generator: torch.Generator) -> Tensor | None:
        """Labels that a model of such answers mostly gets right; None: it needs none."""

    def tiny_answers(self, answers: Tensor) -> Tensor:
        """Answers [n, tiny_width] in the form in which models return them."""
        return answers

    def finish(self) -> Callable[[Tensor, Tensor], Tensor] | None:
        """(logits [n, classes, units], inputs as the network got them) → what is audited; None: they."""
        return None

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

    def to_explain(self, subject: Subject, logits: Tensor, output: str = "") -> Tensor:
        """[n] which of an answer's scores is explained: the answered class's.

        Args:
            output: of several values, the name of the one that is asked for.
        """
        return logits.argmax(1)

    def explained_name(self, subject: Subject, output: str = "") -> str:
        """The name of the value that is explained, where an answer holds several."""
        return ""

    def spread(self, subject: Subject, target: Tensor) -> Tensor | float:
        """[n] what a change of the explained scores is counted in."""
        return 1.0

    def told_target(self, subject: Subject, target: int) -> str:
        """What is explained, in words: the class that is answered; '' where there are none."""
        return subject.classes[target] if subject.classes else ""

    @property
    def explained_unit(self) -> str:
        """Of the explained score."""
        return self.quality_unit or "log-odds"

    def explained(self, subject: Subject, answers: Tensor, target: Tensor) -> Tensor:
        """[n] the score whose parts an explanation shows: the log-odds of the target class."""
        return log_odds(answers, target)

    def flat(self, answers: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What is judged, one by one.

        Returns:
            ([m, classes] its answers, [m] labels, [m] the sample that each belongs to).
        """
        return answers, y, torch.arange(len(answers))

    def background(self, subject: Subject) -> int | None:
        """Of units that form regions, the class that forms none."""
        return None

    def grid(self, subject: Subject) -> tuple[int, ...]:
        """Extents of the axes along which the judged units of a sample lie; none where it has one."""
        return ()

    def unit(self, subject: Subject) -> str:
        """What is judged one by one, in the plural: 'samples'."""
        return "samples"

    def outputs(self, meta: SubjectMeta, k: int) -> list[str]:
        """A name for each of k values of an answer."""
        return []

    def fields(self, meta: SubjectMeta, k: int) -> dict[str, list[int]]:
        """What is told apart in an answer of k values: name → the values that belong to it."""
        return {}

    def scales(self, subject: Subject) -> Tensor:
        """[k] what an error of each value is counted in, where answers are values."""
        raise NotApplicable(LACKS["valued"].format(self.name))

    def told_tolerance(self, subject: Subject) -> str:
        """How much further off a value may be, where answers are values."""
        raise NotApplicable(LACKS["valued"].format(self.name))

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

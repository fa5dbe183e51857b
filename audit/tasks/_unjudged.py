"""What tasks share whose answers are held against no label here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from audit.errors import NotApplicable
from audit.record import Metric
from audit.tasks import Task

if TYPE_CHECKING:
    from audit.subject import Subject


class Unjudged(Task):
    """Weights and layers are looked at; no check may ask for answers (`judged`)."""

    judged: ClassVar[bool] = False
    supervised: ClassVar[bool] = False

    def changed(self, subject: Subject, before: Tensor, after: Tensor) -> Tensor:
        raise self.refusal()

    def quality_of(self, subject: Subject, answers: Tensor, y: Tensor) -> Tensor:
        raise self.refusal()

    def mean_quality(self, *_: Any, **__: Any) -> Metric:
        raise self.refusal()

    def told_change(self, before: Metric, after: Metric) -> str:
        raise self.refusal()

    def text(self, subject: Subject, answer: Tensor) -> str:
        raise self.refusal()

    def refusal(self) -> NotApplicable:
        return NotApplicable(f"the task is {self.name}, whose answers are not judged yet")

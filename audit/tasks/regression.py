"""A number, held against a number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit import statistics
from audit.errors import AuditError, NotApplicable
from audit.record import Metric, Slice
from audit.scores import standard_errors, width
from audit.tasks import Asked, Reading, Task, View
from audit.words import number

if TYPE_CHECKING:
    from audit.subject import Subject
    from audit.subject.builder import Draft


class Regression(Task):
    """A number. It is good where it is not further off than the tolerance."""

    valued: ClassVar[bool] = True
    has_zero: ClassVar[bool] = False
    stands: ClassVar[float] = 0.3
    good: ClassVar[str] = "within the tolerance"
    quality: ClassVar[str] = "minus the absolute error"
    share_good: ClassVar[str] = "share within the tolerance"
    robust: ClassVar[str] = "share within the tolerance"
    robust_metric: ClassVar[str] = "within_tolerance"
    quality_unit: ClassVar[str] = "standard deviations"

    def tiny_labels(self, answers: Tensor, generator: torch.Generator) -> Tensor:
        values = answers[:, 0]
        return values + 0.2 * values.std() * torch.randn(len(values), generator=generator)

    def read(self, scores: Tensor, asked: Asked) -> Reading | None:
        labels = asked.labels
        if asked.meta.task == self.name:
            return Reading("value", "the task is regression")
        if asked.meta.output == "value" and width(scores) == 1:
            return Reading("value", "the output is a value")
        if width(scores) != 1 or labels.several or labels.truths or (labels.two and labels.whole):
            return None
        return Reading("value", "one output, and labels that are not classes")

    def gain(self, scores: Tensor, reading: Reading, asked: Asked) -> float | None:
        if asked.y is None or asked.y.ndim > 1 or width(scores) != 1:
            return None
        y = asked.y.double()
        return standard_errors((y - y.median()).abs() - (y - scores.double().flatten()).abs())

    def number_labels(self, draft: Draft) -> None:
        y = draft.arrays.labels
        if y is not None and y.ndim > 1:
            raise AuditError(
                f"The labels hold {y.shape[1]} values a sample; one is due: wrap the model so "
                "that it returns one column, and give that column of the labels."
            )

    def settle_scale(self, draft: Draft) -> None:
        """The change of an answer that matters."""
        meta, reason = draft.meta, ""
        if draft.label_spread == 0:
            what = "answers" if draft.arrays.labels is None else "labels"
            raise AuditError(
                f"All {what} are the same number; a regression cannot be judged on them."
            )
        if meta.tolerance is None:
            meta.tolerance = draft.label_spread / 4
            reason = "a quarter of the labels' standard deviation"
            if draft.arrays.labels is None:
                reason = "a quarter of the answers' standard deviation on the first samples"
        draft.add_fact("tolerance", meta.tolerance, reason)

    def require(self, subject: Subject) -> None:
        scores = subject.known.scores
        if scores.ndim == 2 and scores.shape[1] != 1:
            raise NotApplicable(
                f"the model answers with {scores.shape[1]} values a sample, not one"
            )

    def tolerance(self, subject: Subject) -> float:
        return float(subject.meta.tolerance or 0)

    def spread(self, subject: Subject) -> float:
        """Standard deviation of the labels, or of the first answers without labels."""
        return subject.known.label_spread

    def changed(self, subject: Subject, before: Tensor, after: Tensor) -> Tensor:
        """A value further off than the tolerance."""
        return (after - before).abs()[:, 0] > self.tolerance(subject)

    def quality_of(self, subject: Subject, answers: Tensor, y: Tensor) -> Tensor:
        """Minus the absolute error, in standard deviations of the labels."""
        return -(answers[:, 0].double() - y.double()).abs() / self.spread(subject)

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
        error = (answers[:, 0].double() - y.double()).abs().numpy()
        return statistics.mean(
            f"{prefix}mean_absolute_error", error, clusters=clusters, direction="lower", slice=where
        )

    def told_change(self, before: Metric, after: Metric) -> str:
        return f"the mean error goes from {number(before.value)} to {number(after.value)}"

    def text(self, subject: Subject, answer: Tensor) -> str:
        return number(float(answer[0]))

    def as_decision(self, subject: Subject, x: Tensor, y: Tensor) -> tuple[Tensor, View]:
        """Further from the truth than now, by more than the tolerance."""
        with torch.no_grad():
            now = subject.logits(x)
        away = torch.where(now[:, 0] >= y.to(now), 1.0, -1.0)[:, None]

        def view(scores: Tensor, rows: Tensor | None) -> Tensor:
            then, sign = (t if rows is None else t[rows] for t in (now, away))
            further = sign * (scores - then) / self.tolerance(subject) - 1
            return torch.cat([torch.zeros_like(further), further], 1)

        return torch.zeros_like(y, dtype=torch.long), view

    def good_before(self, subject: Subject, answers: Tensor, y: Tensor) -> NDArray[Any]:
        """Every answer: it has not moved yet."""
        return np.ones(len(answers), dtype=bool)

    def best_constant(self, subject: Subject, answers: Tensor, y: Tensor) -> float:
        """Most answers that one value keeps within the tolerance."""
        values = np.sort(answers[:, 0].numpy())
        reach = 2 * self.tolerance(subject)
        within = np.searchsorted(values, values + reach, "right") - np.arange(len(values))
        return float(within.max() / len(values))

"""A risk: who has the higher one should see the event sooner."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from audit import statistics
from audit.errors import AuditError
from audit.record import Metric, Slice
from audit.scores import width
from audit.statistics.concordance import pseudo_values
from audit.tasks import Asked, Reading, Task
from audit.words import number

if TYPE_CHECKING:
    from audit.subject import Subject
    from audit.subject.builder import Draft

DUE = (
    "labels of two columns are due, the time and whether the event came (1) or was not seen yet (0)"
)


class Survival(Task):
    """One risk score a sample, held against [time, event] by the order of the events alone."""

    ranks_events: ClassVar[bool] = True
    good: ClassVar[str] = "ranked right"
    quality: ClassVar[str] = "concordance"
    share_good: ClassVar[str] = "concordance"
    robust: ClassVar[str] = "concordance under attack"
    robust_metric: ClassVar[str] = "robust_concordance"
    quality_unit: ClassVar[str] = "of concordance"

    def tiny_labels(self, answers: Tensor, generator: torch.Generator) -> Tensor:
        noise = torch.randn(len(answers), generator=generator)
        time = (0.3 * noise - answers[:, 0]).exp()
        event = torch.rand(len(answers), generator=generator) < 0.7
        return torch.stack([time, event.to(time)], 1)

    def read(self, scores: Tensor, asked: Asked) -> Reading | None:
        if width(scores) != 1 or asked.meta.output not in (None, "value"):
            return None
        if asked.meta.task == self.name:
            return Reading("value", "the task is survival")
        if asked.y is None or not times_and_events(asked.y):
            return None
        return Reading(
            "value",
            "one score, and labels of a time and a yes or no: the higher the score, the sooner the event",
        )

    def number_labels(self, draft: Draft) -> None:
        arrays = draft.arrays
        trained = None if arrays.training is None else arrays.training[1]
        for what, y in (("labels", arrays.labels), ("training labels", trained)):
            if y is not None and not times_and_events(y):
                shape = ", ".join(["n", *map(str, y.shape[1:])])
                raise AuditError(
                    f"The task is survival and the {what} have shape [{shape}] or hold other numbers; {DUE}."
                )
        if arrays.labels is not None and not bool((arrays.labels[:, 1] == 1).any()):
            raise AuditError(
                "The task is survival and no event is seen in the labels, so that nobody's order is known; "
                f"{DUE}."
            )
        if draft.answers[0].numel() != 1:
            raise AuditError(
                f"The task is survival and the model returns {draft.answers[0].numel()} values a sample; "
                "one risk is judged, the higher the sooner the event: wrap the model so that it returns it "
                "(of a survival curve, minus the expected time)."
            )

    def settle_scale(self, draft: Draft) -> None:
        """The change of a risk that matters."""
        meta, reason = draft.meta, ""
        draft.spreads = draft.answers.reshape(len(draft.answers), -1).double().std(0)
        if meta.tolerance is None:
            meta.tolerance = max(float(draft.spreads[0]) / 4, 1e-12)
            reason = "a quarter of the risks' standard deviation on the first samples"
        draft.add_fact("tolerance", meta.tolerance, reason)

    def spread(self, subject: Subject, target: Tensor) -> float:
        return max(float(subject.known.spreads[0]), 1e-12)

    def changed(self, subject: Subject, before: Tensor, after: Tensor) -> Tensor:
        """A risk that moved by more than the tolerance."""
        most = subject.meta.tolerance
        return (after - before).abs()[:, 0] > float(most if isinstance(most, float) else 0.0)

    def quality_of(self, subject: Subject, answers: Tensor, y: Tensor) -> Tensor:
        """Pseudo-values whose mean is the concordance among these samples."""
        return pseudo_values(answers[:, 0], y[:, 0], y[:, 1] == 1)

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
            f"{prefix}concordance",
            self.quality_of(subject, answers, y).numpy(),
            clusters=clusters,
            direction="higher",
            slice=where,
        )

    def told_change(self, before: Metric, after: Metric) -> str:
        return f"concordance goes from {number(before.value)} to {number(after.value)}"

    def text(self, subject: Subject, answer: Tensor) -> str:
        return f"risk {number(float(answer[0]))}"


def times_and_events(y: Tensor) -> bool:
    """Are they [n, 2]: a time, not always 0 or 1, and whether the event came?"""
    if y.ndim != 2 or y.shape[1] != 2:
        return False
    time, event = y.double().unbind(1)
    yes_or_no = bool(((event == 0) | (event == 1)).all())
    return yes_or_no and float(time.min()) >= 0 and not bool(((time == 0) | (time == 1)).all())

"""Several labels a sample, each of them true or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit import statistics
from audit.errors import AuditError, NotApplicable
from audit.labels import Labels
from audit.meta import SubjectMeta
from audit.outputs import answered
from audit.record import Metric, Slice
from audit.scores import rows_in_unit, width
from audit.tasks import Asked, Reading, Settle, Task, View
from audit.words import number

if TYPE_CHECKING:
    from audit.subject import Subject
    from audit.subject.builder import Draft


class Multilabel(Task):
    """A yes or no for each of several labels. An answer is right where every label is."""

    several_labels: ClassVar[bool] = True
    good: ClassVar[str] = "right on every label"
    quality: ClassVar[str] = "label accuracy"
    share_good: ClassVar[str] = "exact-match accuracy"
    robust: ClassVar[str] = "robust exact-match accuracy"
    robust_metric: ClassVar[str] = "robust_exact_match"
    tiny_width: ClassVar[int] = 3

    def tiny_labels(self, answers: Tensor, generator: torch.Generator) -> Tensor:
        wrong = torch.rand(answers.shape, generator=generator) < 0.05
        return ((answers > 0) ^ wrong).long()

    def read(self, scores: Tensor, asked: Asked) -> Reading | None:
        labels, k = asked.labels, width(scores)
        if k < 2 or (labels.given and not labels.several):
            return None
        output = asked.meta.output or ("sigmoid" if rows_in_unit(scores) else "logits")
        if asked.meta.task == self.name:
            return Reading(output, "the task is multilabel")
        yes_or_no = labels.several and set(labels.values) <= {0.0, 1.0}
        if not yes_or_no or labels.one_hot or labels.shape[1] != k:
            return None
        return Reading(output, f"{k} scores, and {k} labels of yes or no a sample")

    def gain(self, scores: Tensor, reading: Reading, asked: Asked) -> float | None:
        return None  # the labels' form has told already

    def name_classes(self, meta: SubjectMeta, k: int, settle: Settle) -> None:
        names = [str(i) for i in range(k)]
        meta.classes = settle(
            "labels", meta.classes, lambda: (names, f"the model has {k} labels, unnamed")
        )
        if len(meta.classes or []) != k:
            raise AuditError(
                f"{len(meta.classes or [])} names are given and the model answers with {k} labels; "
                "correct [subject] classes."
            )

    def number_labels(self, draft: Draft) -> None:
        k, arrays = len(draft.classes), draft.arrays
        trained = None if arrays.training is None else arrays.training[1]
        for what, y in (("labels", arrays.labels), ("training labels", trained)):
            if y is None:
                continue
            labels = Labels.of(y)
            if labels.shape[1:] != (k,) or not set(labels.values) <= {0.0, 1.0}:
                shape = ", ".join(["n", *map(str, labels.shape[1:])])
                raise AuditError(
                    f"The {what} have shape [{shape}] and the model answers with {k} labels; give rows "
                    f"of {k} zeros and ones."
                )
        if arrays.training is not None and trained is not None:
            arrays.training = arrays.training[0], trained.long()
        if arrays.labels is None:
            return
        arrays.labels = arrays.labels.long()
        true = arrays.labels.double().mean(0).tolist()
        fixed = [c for c, share in zip(draft.classes, true, strict=True) if share in (0, 1)]
        if fixed:
            shown = ", ".join(fixed[:5]) + (" …" if len(fixed) > 5 else "")
            draft.notes.append(
                f"{len(fixed)} of {k} labels are the same for every sample ({shown}): nothing is known "
                "of how well the model tells them."
            )

    def require(self, subject: Subject) -> None:
        if subject.classes and len(subject.classes) < 2:
            raise NotApplicable("the model answers with one label")

    def said(self, answers: Tensor) -> Tensor:
        """[n, labels] 1 for yes, 0 for no; −1 in rows that are no answer."""
        yes = (answers > 0).long()
        return torch.where(answered(answers)[:, None], yes, torch.full_like(yes, -1))

    def changed(self, subject: Subject, before: Tensor, after: Tensor) -> Tensor:
        return (self.said(before) != self.said(after)).any(1)

    def quality_of(self, subject: Subject, answers: Tensor, y: Tensor) -> Tensor:
        """The share of labels that are right."""
        return (self.said(answers) == y.to(answers.device)).double().mean(1)

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
            f"{prefix}label_accuracy",
            self.quality_of(subject, answers, y).numpy(),
            clusters=clusters,
            direction="higher",
            slice=where,
            edges=(0, 1),
        )

    def told_change(self, before: Metric, after: Metric) -> str:
        return f"label accuracy goes from {number(before.value)} to {number(after.value)}"

    def text(self, subject: Subject, answer: Tensor) -> str:
        yes = [name for name, z in zip(subject.classes, answer.tolist(), strict=True) if z > 0]
        return " + ".join(yes) or "no label"

    def explained(self, subject: Subject, answers: Tensor, target: Tensor) -> Tensor:
        """The log-odds of one label; its neighbours are no alternatives to it."""
        return answers.gather(1, target[:, None])[:, 0]

    def as_decision(self, subject: Subject, x: Tensor, y: Tensor) -> tuple[Tensor, View]:
        """Right on every label, by the margin of the least sure one.

        Its gradient is that of a soft minimum: of the least alone, an attack would push one label to
        the end of its reach and never try another that it could turn.
        """
        sign = 2.0 * y - 1

        def view(scores: Tensor, rows: Tensor | None) -> Tensor:
            margins = scores * (sign if rows is None else sign[rows]).to(scores)
            soft = -(-margins).logsumexp(1)
            least = soft + (margins.amin(1) - soft).detach()
            return torch.stack([least, torch.zeros_like(least)], 1)

        return torch.zeros(len(y), dtype=torch.long, device=y.device), view

    def good_before(self, subject: Subject, answers: Tensor, y: Tensor) -> NDArray[Any]:
        right: NDArray[Any] = (self.said(answers) == y).all(1).numpy()
        return right

    def best_constant(self, subject: Subject, answers: Tensor, y: Tensor) -> float:
        """The share of the most frequent combination of labels."""
        _, counts = np.unique(y.numpy(), axis=0, return_counts=True)
        return float(counts.max() / len(y))

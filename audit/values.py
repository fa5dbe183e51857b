"""What tasks share whose answers are numbers on the scale of the labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit import statistics
from audit.errors import AuditError
from audit.labels import Labels
from audit.meta import SubjectMeta
from audit.record import Metric, Slice
from audit.tasks import Task, View
from audit.words import number

if TYPE_CHECKING:
    from audit.subject import Subject
    from audit.subject.builder import Draft

FEW = 4  # values of an answer that are written out
TRIED = 8  # values of an answer among which an attack looks for the one that moves most


class Valued(Task):
    """A number or several. An answer is good where none is further off than its tolerance."""

    valued: ClassVar[bool] = True
    has_zero: ClassVar[bool] = False
    stands: ClassVar[float] = 0.3
    good: ClassVar[str] = "within the tolerance"
    quality: ClassVar[str] = "minus the absolute error"
    share_good: ClassVar[str] = "share within the tolerance"
    robust: ClassVar[str] = "share within the tolerance"
    robust_metric: ClassVar[str] = "within_tolerance"
    quality_unit: ClassVar[str] = "standard deviations"

    # What its values are called

    def outputs(self, meta: SubjectMeta, k: int) -> list[str]:
        """A name for each of k values of an answer."""
        return list(meta.targets or [f"y{i}" for i in range(k)])

    def fields(self, meta: SubjectMeta, k: int) -> dict[str, list[int]]:
        """What is told apart in an answer of k values: name → the values that belong to it."""
        return {name: [i] for i, name in enumerate(self.outputs(meta, k))}

    def one_unit(self, subject: Subject) -> bool:
        """Are all values of an answer in one unit?"""
        return len(self.fields(subject.meta, len(self.scales(subject)))) == 1

    # What its contract is tried on

    def tiny_labels(self, answers: Tensor, generator: torch.Generator) -> Tensor:
        noise = torch.randn(answers.shape, generator=generator)
        y = answers + 0.2 * answers.std(0) * noise
        return y[:, 0] if y.shape[1] == 1 else y

    # What it needs to know

    def number_labels(self, draft: Draft) -> None:
        """Rows of as many values as the model answers with; [n] of one."""
        arrays, returned = draft.arrays, draft.answers
        trained = None if arrays.training is None else arrays.training[1]
        for what, y in (("labels", arrays.labels), ("training labels", trained)):
            if y is not None and extents(y) != extents(returned):
                raise AuditError(
                    f"The {what} hold {counted(extents(y))} a sample and the model answers with "
                    f"{counted(extents(returned))}; wrap the model so that it returns just the values "
                    "that the labels hold, or give the labels of all of them."
                )
        self.settle_names(draft)
        if arrays.labels is not None:
            arrays.labels = flat(arrays.labels)
        if arrays.training is not None and trained is not None:
            arrays.training = arrays.training[0], flat(trained)

    def settle_names(self, draft: Draft) -> None:
        """What the values of an answer are called, where there are several."""
        meta, k = draft.meta, draft.answers[0].numel()
        if meta.targets is not None and len(meta.targets) != k:
            raise AuditError(
                f"{len(meta.targets)} targets are named and the model answers with {k} "
                f"value{'s' * (k > 1)} a sample; correct [subject] targets."
            )
        if k > 1:
            reason = "" if meta.targets else f"the model answers with {k} values, unnamed"
            meta.targets = self.outputs(meta, k)
            draft.add_fact("targets", meta.targets, reason)

    def settle_scale(self, draft: Draft) -> None:
        """The change of each value that matters."""
        meta, reason = draft.meta, ""
        values = draft.answers if draft.arrays.labels is None else draft.arrays.labels
        draft.spreads = self.spreads(values.reshape(len(values), -1).double(), meta)
        k = len(draft.spreads)
        still = [n for n, s in zip(self.outputs(meta, k), draft.spreads, strict=True) if s == 0]
        if still:
            what = "answers" if draft.arrays.labels is None else "labels"
            of = f" of {still[0]}" if k > 1 else ""
            raise AuditError(
                f"All {what}{of} are the same number; a {self.name} cannot be judged on them."
            )
        if meta.tolerance is None:
            quarter = (draft.spreads / 4).tolist()
            meta.tolerance = quarter[0] if len(set(quarter)) == 1 else quarter
            reason = "a quarter of the labels' standard deviation"
            if draft.arrays.labels is None:
                reason = "a quarter of the answers' standard deviation on the first samples"
        if isinstance(meta.tolerance, list) and len(meta.tolerance) != k:
            raise AuditError(
                f"{len(meta.tolerance)} tolerances are given and the model answers with {k} "
                f"value{'s' * (k > 1)}; give [subject] tolerance one for all, or one for each."
            )
        draft.add_fact("tolerance", meta.tolerance, reason)

    def spreads(self, values: Tensor, meta: SubjectMeta) -> Tensor:
        """[k] the standard deviation of each value, of labels or answers [n, k]."""
        return values.std(0)

    # When an answer is good

    def scales(self, subject: Subject) -> Tensor:
        """[k] standard deviation of each value's labels, or of the first answers without labels."""
        return subject.known.spreads

    def tolerances(self, subject: Subject) -> Tensor:
        """[k] the change of each value that matters."""
        given = torch.as_tensor(subject.meta.tolerance or 0.0, dtype=torch.float64)
        return given.expand(len(self.scales(subject)))

    def told_tolerance(self, subject: Subject) -> str:
        found = set(self.tolerances(subject).tolist())
        return number(found.pop()) if len(found) == 1 else "the tolerance of the value"

    def errors(self, answers: Tensor, y: Tensor) -> Tensor:
        """[n, k] how far too high each value is."""
        return answers.double() - column(y).to(answers.device).double()

    def changed(self, subject: Subject, before: Tensor, after: Tensor) -> Tensor:
        """A value further off than its tolerance."""
        return ((after - before).abs() > self.tolerances(subject).to(after)).any(1)

    def quality_of(self, subject: Subject, answers: Tensor, y: Tensor) -> Tensor:
        """Minus the mean absolute error of its values, in standard deviations of their labels."""
        errors = self.errors(answers, y).abs()
        return -(errors / self.scales(subject).to(errors)).mean(1)

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
        """The mean absolute error: in the labels' unit where all values share one."""
        one = self.one_unit(subject)
        error = (
            self.errors(answers, y).abs().mean(1) if one else -self.quality_of(subject, answers, y)
        )
        return statistics.mean(
            f"{prefix}mean_absolute_error",
            error.numpy(),
            clusters=clusters,
            direction="lower",
            slice=where,
            unit="" if one else self.quality_unit,
        )

    def told_change(self, before: Metric, after: Metric) -> str:
        unit = f" {after.unit}" if after.unit else ""
        return f"the mean error goes from {number(before.value)} to {number(after.value)}{unit}"

    def text(self, subject: Subject, answer: Tensor) -> str:
        more = ", …" if len(answer) > FEW else ""
        return ", ".join(number(float(v)) for v in answer[:FEW]) + more

    # Which value is explained

    def to_explain(self, subject: Subject, logits: Tensor, output: str = "") -> Tensor:
        """Of several values that whose labels are spread widest, unless one is named."""
        return torch.full((len(logits),), self.explained_at(subject, output), device=logits.device)

    def explained_name(self, subject: Subject, output: str = "") -> str:
        names = self.outputs(subject.meta, len(self.scales(subject)))
        return names[self.explained_at(subject, output)] if len(names) > 1 else ""

    def explained_at(self, subject: Subject, output: str) -> int:
        """Which of its values is explained.

        Raises:
            AuditError: none is called so.
        """
        scales = self.scales(subject)
        names = self.outputs(subject.meta, len(scales))
        if not output:
            return int(scales.argmax())
        if output not in names:
            raise AuditError(
                f"There is no output {output!r} to explain; the outputs are "
                f"{', '.join(names[:5])}{', …' if len(names) > 5 else ''}."
            )
        return names.index(output)

    def spread(self, subject: Subject, target: Tensor) -> Tensor:
        return self.scales(subject).to(target.device)[target].float()

    def explained(self, subject: Subject, answers: Tensor, target: Tensor) -> Tensor:
        return answers.gather(1, target[:, None])[:, 0]

    # What an attack has to achieve

    def as_decision(self, subject: Subject, x: Tensor, y: Tensor) -> tuple[Tensor, View]:
        """Further from the truth than now, by more than the tolerance, in any of its values.

        Of several the gradient is that of the value that the gradient here can carry furthest: a sum of
        all pulls in many directions, and the furthest at a time is the first that moved.
        """
        with torch.no_grad():
            now = subject.logits(x)
        away = torch.where(now >= column(y).to(now), 1.0, -1.0).to(now)
        scale = away / self.tolerances(subject).to(now)
        aim = easiest(subject, x, scale) if now.shape[1] > 1 else None

        def view(scores: Tensor, rows: Tensor | None) -> Tensor:
            then, unit = (t if rows is None else t[rows] for t in (now, scale))
            further = unit * (scores - then) - 1
            if aim is not None:
                aimed = further.gather(1, aim if rows is None else aim[rows])
                further = aimed + (further.amax(1, keepdim=True) - aimed).detach()
            return torch.cat([torch.zeros_like(further), further], 1)

        return torch.zeros(len(y), dtype=torch.long, device=y.device), view

    def good_before(self, subject: Subject, answers: Tensor, y: Tensor) -> NDArray[Any]:
        """Every answer: it has not moved yet."""
        return np.ones(len(answers), dtype=bool)

    def best_constant(self, subject: Subject, answers: Tensor, y: Tensor) -> float:
        """Most answers that one keeps within the tolerance: one value, or of several a model's own."""
        tolerances = self.tolerances(subject)
        if len(tolerances) == 1:
            values, reach = np.sort(answers[:, 0].numpy()), 2 * float(tolerances[0])
            within = np.searchsorted(values, values + reach, "right") - np.arange(len(values))
            return float(within.max() / len(values))
        scaled = answers.double() / tolerances
        near = (torch.cdist(scaled, scaled, p=float("inf")) <= 1).double().mean(1)
        return float(near.max())


def easiest(subject: Subject, x: Tensor, scale: Tensor) -> Tensor:
    """[n, 1] of each answer's values, the one that a small change of the input carries furthest.

    Of many values some, evenly spread, are tried.

    Args:
        scale: [n, k] what a step of each value is worth.
    """
    k = scale.shape[1]
    tried = torch.linspace(0, k - 1, min(k, TRIED)).round().long().tolist()
    if not (subject.kind.continuous and x.is_floating_point() and subject.differentiable):
        return torch.zeros(len(x), 1, dtype=torch.long, device=scale.device)
    radius = subject.kind.reach(subject, 1.0).radius
    with torch.enable_grad():
        moved = x.detach().clone().requires_grad_(True)
        values = subject.logits(moved) * scale
        reach = torch.stack(
            [
                (torch.autograd.grad(values[:, i].sum(), moved, retain_graph=True)[0] * radius)
                .abs()
                .flatten(1)
                .sum(1)
                for i in tried
            ],
            1,
        )
    return torch.tensor(tried, device=scale.device)[reach.argmax(1)][:, None]


def column(y: Tensor) -> Tensor:
    """[n] or [n, k] labels as [n, k]."""
    return y[:, None] if y.ndim == 1 else y


def flat(y: Tensor) -> Tensor:
    """[n, ...] labels as [n, k]; as [n] of one value a sample."""
    rows = y.reshape(len(y), -1)
    return rows[:, 0] if rows.shape[1] == 1 else rows


def extents(values: Tensor | Labels) -> tuple[int, ...]:
    """The axes of a sample's values along which there is more than one."""
    return tuple(size for size in values.shape[1:] if size != 1)


def counted(found: Sequence[int]) -> str:
    """'one value', '3 values', '24 x 2 values'."""
    return f"{' x '.join(map(str, found))} values" if found else "one value"

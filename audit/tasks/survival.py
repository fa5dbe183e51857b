"""A risk: who has the higher one should see the event sooner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from numpy.typing import NDArray
from torch import Tensor

from audit import statistics
from audit.errors import AuditError
from audit.record import Metric, Slice
from audit.scores import width
from audit.statistics.concordance import pseudo_values
from audit.tasks import Asked, Reading, Task, View
from audit.words import number

if TYPE_CHECKING:
    from audit.subject import Subject
    from audit.subject.builder import Draft

DUE = (
    "labels of two columns are due, the time and whether the event came (1) or was not seen yet (0)"
)

PARTNERS = 2000  # samples that a risk under attack is held against, at most


@dataclass(frozen=True)
class Ranks:
    """Where among the risks of others a risk is ranked right against most of them.

    Attributes:
        edges: [m] the others' risks, sorted; they bound m + 1 gaps.
        good: [n, m + 1] is a risk in that gap ranked right against more than half of those whose order
            with it is known?
        below, above: [n, m + 1] how far the risk may fall, and rise, from that gap on: the edges of the
            nearest gaps that are otherwise, minus and plus infinity where there is none.
    """

    edges: Tensor
    good: Tensor
    below: Tensor
    above: Tensor

    @classmethod
    def among(cls, risks: Tensor, labels: Tensor, y: Tensor) -> Ranks:
        """Of samples with labels [n, 2], among others with risks [m] and labels [m, 2]."""
        edges, order = risks.sort()
        time, event = labels[order].T
        t, seen = y[:, :1], y[:, 1:] == 1
        came = event == 1
        # Whose event is known to come later must have a lower risk, and the reverse.
        later = seen & ((t < time) | ((t == time) & ~came))
        sooner = came & ((time < t) | ((time == t) & ~seen))
        start = torch.zeros_like(t, dtype=torch.long)
        passed = torch.cat([start, later.long().cumsum(1)], 1)
        missed = torch.cat([start, sooner.long().cumsum(1)], 1)
        right = passed + sooner.sum(1, keepdim=True) - missed
        good = 2 * right > later.sum(1, keepdim=True) + sooner.sum(1, keepdim=True)
        lowest, highest = edges.new_tensor([-torch.inf]), edges.new_tensor([torch.inf])
        turns = good[:, 1:] != good[:, :-1]  # at edge k between the gaps k and k + 1
        below = torch.where(turns, edges, lowest).cummax(1).values
        above = torch.where(turns, edges, highest).flip(1).cummin(1).values.flip(1)
        n = len(y)
        return cls(
            edges,
            good,
            torch.cat([lowest.expand(n, 1), below], 1),
            torch.cat([above, highest.expand(n, 1)], 1),
        )

    def margins(self, risk: Tensor, rows: Tensor | None = None) -> Tensor:
        """[n] how far each risk [n] is from being ranked otherwise; below 0 where it is ranked wrong."""
        good, below, above = (
            part if rows is None else part[rows] for part in (self.good, self.below, self.above)
        )
        gap = torch.searchsorted(self.edges, risk.detach().contiguous())[:, None]
        apart = torch.minimum(
            risk - below.gather(1, gap)[:, 0], above.gather(1, gap)[:, 0] - risk
        ).clamp_max(float(self.edges[-1] - self.edges[0]) + 1)
        return torch.where(good.gather(1, gap)[:, 0], apart, -apart)


class Survival(Task):
    """One risk score a sample, held against [time, event] by the order of the events alone.

    Under attack a sample is right while its risk is ranked right against more than half of the others,
    whose risks stay as they are.
    """

    ranks_events: ClassVar[bool] = True
    good: ClassVar[str] = "ranked right"
    quality: ClassVar[str] = "concordance"
    share_good: ClassVar[str] = "share of samples ranked right against most others"
    robust: ClassVar[str] = "share of samples ranked right under attack"
    robust_metric: ClassVar[str] = "robust_share"
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

    # What an attack has to achieve

    def ranks(self, subject: Subject, y: Tensor) -> Ranks:
        """Among at most `PARTNERS` of the evaluation samples, whose risks are asked once."""

        def made() -> tuple[Tensor, Tensor]:
            whole = subject.samples
            labels = subject.labels
            rows = torch.linspace(0, len(whole) - 1, min(PARTNERS, len(whole))).round().long()
            # Its passes are nobody's alone who happens to ask first.
            with torch.no_grad(), subject.network.counting():
                risks = torch.cat(
                    [
                        subject.logits(whole.batch(few.numpy())[0])[:, 0]
                        for few in rows.split(whole.batch_size)
                    ]
                )
            known = torch.isfinite(risks).cpu()
            return risks[known.to(risks.device)], labels[rows[known]]

        risks, labels = subject.derived("risks", made)
        return Ranks.among(risks, labels.to(risks), y.to(risks))

    def as_decision(self, subject: Subject, x: Tensor, y: Tensor) -> tuple[Tensor, View]:
        """Ranked right against most others, by how far the risk is from where it is not."""
        ranks = self.ranks(subject, y)

        def view(scores: Tensor, rows: Tensor | None) -> Tensor:
            margin = ranks.margins(scores[:, 0].to(ranks.edges), rows).to(scores)
            return torch.stack([margin, torch.zeros_like(margin)], 1)

        return torch.zeros(len(y), dtype=torch.long, device=y.device), view

    def good_before(self, subject: Subject, answers: Tensor, y: Tensor) -> NDArray[Any]:
        ranks = self.ranks(subject, y)
        risks = answers[:, 0].to(ranks.edges)
        right = (ranks.margins(risks.nan_to_num()) > 0) & torch.isfinite(risks)
        found: NDArray[Any] = right.cpu().numpy()
        return found

    def best_constant(self, subject: Subject, answers: Tensor, y: Tensor) -> float:
        """Of one risk for all, as ranked among the others: whom the best such risk ranks right."""
        ranks = self.ranks(subject, y)
        return float(ranks.good.double().mean(0).max())

    def text(self, subject: Subject, answer: Tensor) -> str:
        return f"risk {number(float(answer[0]))}"


def times_and_events(y: Tensor) -> bool:
    """Are they [n, 2]: a time, not always 0 or 1, and whether the event came?"""
    if y.ndim != 2 or y.shape[1] != 2:
        return False
    time, event = y.double().unbind(1)
    yes_or_no = bool(((event == 0) | (event == 1)).all())
    return yes_or_no and float(time.min()) >= 0 and not bool(((time == 0) | (time == 1)).all())

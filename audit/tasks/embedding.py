"""A place in a space: samples of one identity lie next to each other."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit import statistics
from audit.errors import AuditError
from audit.outputs import answered
from audit.record import LeftOut, Metric, Slice
from audit.retrieval import Gallery, evenly, laid, lonely, similar, similarities
from audit.scores import unit_norm, width
from audit.tasks import Asked, Reading, Task, View
from audit.words import amount, number

if TYPE_CHECKING:
    from audit.subject import Subject
    from audit.subject.builder import Draft
    from audit.subject.samples import Samples

MOST = 20_000  # samples that are compared with one another
FINGERPRINT = 6  # bytes of a sample's digest: whole numbers that a double holds
FEW = 1000  # places that a spread is told from


class Embedding(Task):
    """A place in a space. A sample is right where its nearest other sample has its identity.

    A label is two numbers: whose the sample is, and which sample it is, the same for copies, which are
    never found for one another.
    """

    compares: ClassVar[bool] = True
    supervised: ClassVar[bool] = False
    has_zero: ClassVar[bool] = False
    stands: ClassVar[float] = 0.5
    good: ClassVar[str] = "right"
    quality: ClassVar[str] = "recall@1"
    share_good: ClassVar[str] = "recall@1"
    robust: ClassVar[str] = "robust recall@1"
    robust_metric: ClassVar[str] = "robust_recall_at_1"
    tiny_width: ClassVar[int] = 3

    def tiny_labels(self, answers: Tensor, generator: torch.Generator) -> Tensor:
        return answers.argmax(1)

    # How it is read

    def read(self, scores: Tensor, asked: Asked) -> Reading | None:
        if width(scores) < 2 or asked.labels.several:
            return None
        if asked.meta.task == self.name:
            return Reading("value", "the task is embedding")
        if asked.meta.output not in (None, "value") or not unit_norm(scores):
            return None
        if asked.labels.given and not asked.labels.whole:
            return None
        return Reading("value", "rows of length 1")

    def gain(self, scores: Tensor, reading: Reading, asked: Asked) -> float | None:
        """How much more often than by chance a sample's nearest other has its label."""
        y = asked.y
        if y is None or y.ndim > 1 or width(scores) < 2:
            return None
        found = similarities(laid(scores, "cosine"), laid(scores, "cosine"), "cosine")
        found.fill_diagonal_(-torch.inf)
        alike = y[:, None] == y[None]
        alike.fill_diagonal_(False)
        chance = float(alike.double().sum(1).mean()) / max(len(y) - 1, 1)
        if chance in (0.0, 1.0):
            return None
        right = float((y[found.argmax(1)] == y).double().mean())
        return (right - chance) / (chance * (1 - chance) / len(y)) ** 0.5

    def shown(self, scores: Tensor, reading: Reading, asked: Asked) -> str:
        return ", rows of length 1" if unit_norm(scores) else ""

    def unasked(self, told: str, reading: Reading, asked: Asked) -> str:
        if asked.labels.given:
            return ""
        return (
            f"The model returns rows of length 1 ({told}), places in a space and no "
            'answers; wrap it so that it returns scores, or write task = "embedding" under [subject].'
        )

    # Its samples

    def number_labels(self, draft: Draft) -> None:
        arrays = draft.arrays
        if arrays.labels is not None:
            arrays.labels = self.labelled(arrays.labels, arrays.inputs, "labels")
        inputs, labels = arrays.training or (arrays.inputs, None)
        if labels is not None:
            arrays.training = inputs, self.labelled(labels, inputs, "training labels")

    def labelled(self, y: Tensor, inputs: Tensor, what: str) -> Tensor:
        """[n, 2] whose each sample is, and which sample it is."""
        if y.ndim > 1 or (y.is_floating_point() and not bool((y == y.round()).all())):
            raise AuditError(
                f"The task is embedding and the {what} have shape {list(y.shape)}; give one name or "
                "whole number a sample: whose it is."
            )
        samples = [
            int.from_bytes(hashlib.blake2b(row.tobytes(), digest_size=FINGERPRINT).digest(), "big")
            for row in inputs.numpy()
        ]
        return torch.stack([y.long(), torch.tensor(samples)], 1)

    def settle_scale(self, draft: Draft) -> None:
        """How places are compared."""
        meta, reason = draft.meta, ""
        if meta.similarity is None:
            meta.similarity, reason = "cosine", "as most embeddings are compared"
            if unit_norm(draft.scores):
                reason = "rows have length 1"
        draft.add_fact("similarity", meta.similarity, reason)

    def arrange(self, samples: Samples, draft: Draft) -> Samples:
        """In clusters by identity; without those that no answer could be right for, who stay as strangers.

        And no more than can be compared with one another.
        """
        labels = samples.labels
        if labels is None:
            return samples
        if samples.groups is None:
            named = draft.arrays.names
            called = np.array(named) if named else None
            whose = labels[:, 0].numpy()
            samples = replace(
                samples, groups=(whose if called is None else called[whose]).astype(str)
            )
            draft.add_fact("clusters", "identities", "samples of one identity are not independent")
        kept = np.arange(len(samples))
        if len(samples) > MOST:
            left = LeftOut(
                what="samples",
                how_many=len(samples) - MOST,
                why=f"each is compared with every other, and {MOST:,} are drawn, as evenly over the "
                "identities as they can be",
            )
            samples = replace(samples, left_out=[*samples.left_out, left])
            kept = evenly(labels.numpy(), MOST)
        alone = lonely(labels[kept].numpy())
        if alone.all():
            raise AuditError(
                "No two samples of the data have the same label, so no sample could find another of "
                "its identity; give several samples of each."
            )
        if len(labels[kept, 0].unique()) == 1:
            raise AuditError(
                "All samples of the data have the same label, so there is no stranger that one could be "
                "taken for; give samples of several identities."
            )
        if not alone.any():
            return samples if len(kept) == len(samples) else among(samples, kept, None)
        left = LeftOut(
            what="samples",
            how_many=int(alone.sum()),
            why="nobody else in the data has their identity, so that no answer could be right; others "
            "are compared with them all the same",
        )
        samples = replace(samples, left_out=[*samples.left_out, left])
        return among(samples, kept[~alone], kept[alone])

    def gallery(self, subject: Subject) -> Gallery:
        """The places of all evaluation samples, made once."""

        def made() -> Gallery:
            whole, strangers = subject.samples, subject.samples.strangers
            places, labels = list[Tensor](), list[Tensor]()
            # Its passes are nobody's alone who happens to ask first.
            with torch.no_grad(), subject.network.counting():
                for part in (whole, *([strangers] if strangers else [])):
                    rows = torch.arange(len(part))
                    for few in rows.split(part.batch_size):
                        places.append(subject.logits(part.batch(few.numpy())[0]))
                    one = torch.arange(len(part))  # strangers come with labels only
                    labels.append(
                        torch.stack([one, one], 1) if part.labels is None else part.labels
                    )
            whose, which = torch.cat(labels).to(places[0].device).T
            similarity = subject.meta.similarity or "cosine"
            return Gallery(laid(torch.cat(places), similarity), whose, which, similarity)

        return subject.derived("gallery", made)

    # When an answer is good

    def margins(self, subject: Subject, answers: Tensor, y: Tensor) -> Tensor:
        """[n] by how much the nearest mate is nearer than the nearest stranger; −inf of no answer."""
        gallery = self.gallery(subject)
        device = gallery.places.device
        whose, which = y.to(device).T
        known = answered(answers).to(device)
        places = laid(answers.to(device).nan_to_num(), gallery.similarity)
        margin = gallery.mate(places, whose, which)[0] - gallery.stranger(places, whose)[0]
        return torch.where(known, margin, -torch.inf).nan_to_num(nan=-torch.inf).cpu()

    def found(self, subject: Subject, before: Tensor, answers: Tensor) -> Tensor:
        """[n] whose the nearest other sample is, other than the one that lies at `before`."""
        gallery = self.gallery(subject)
        was, now = (
            laid(a.to(gallery.places.device).nan_to_num(), gallery.similarity)
            for a in (before, answers)
        )
        whose = gallery.identity[gallery.neighbour(now, gallery.itself(was))]
        return torch.where(answered(answers).to(whose.device), whose, -1).cpu()

    def changed(self, subject: Subject, before: Tensor, after: Tensor) -> Tensor:
        """Another identity is found."""
        return self.found(subject, before, before) != self.found(subject, before, after)

    def quality_of(self, subject: Subject, answers: Tensor, y: Tensor) -> Tensor:
        """1 where the nearest other sample has the sample's identity."""
        return (self.margins(subject, answers, y) > 0).double()

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
            f"{prefix}recall_at_1",
            self.quality_of(subject, answers, y).numpy(),
            clusters=clusters,
            slice=where,
        )

    def told_change(self, before: Metric, after: Metric) -> str:
        return f"recall@1 goes from {amount(before)} to {amount(after)}"

    def text(self, subject: Subject, answer: Tensor) -> str:
        return f"length {number(float(answer.norm()))}"

    def told_move(self, subject: Subject, before: Tensor, after: Tensor) -> str:
        was, now = (
            int(self.found(subject, before[None], answer[None])[0]) for answer in (before, after)
        )
        return f"next to {was} → next to {now}"

    # What is explained

    @property
    def explained_unit(self) -> str:
        return "spreads of the similarity"

    def spread(self, subject: Subject, target: Tensor) -> float:
        """The standard deviation of the similarities of samples."""

        def made() -> float:
            gallery = self.gallery(subject)
            few = gallery.places[torch.linspace(0, len(gallery.places) - 1, FEW).long().unique()]
            found = similarities(few, few, gallery.similarity)
            apart = ~torch.eye(len(few), dtype=torch.bool, device=few.device) & found.isfinite()
            return float(found[apart].double().std().nan_to_num(1.0).clamp_min(1e-6))

        return subject.derived("spread of similarities", made)

    def to_explain(self, subject: Subject, logits: Tensor, output: str = "") -> Tensor:
        """[n] the entry of the gallery next to each sample."""
        gallery = self.gallery(subject)
        places = laid(logits.nan_to_num(), gallery.similarity)
        return gallery.neighbour(places, gallery.itself(places))

    def explained(self, subject: Subject, answers: Tensor, target: Tensor) -> Tensor:
        """The similarity to that neighbour."""
        gallery = self.gallery(subject)
        return similar(
            laid(answers, gallery.similarity), gallery.places[target], gallery.similarity
        )

    # What an attack has to achieve

    def as_decision(self, subject: Subject, x: Tensor, y: Tensor) -> tuple[Tensor, View]:
        """Next to a mate, by the margin over the nearest stranger; those attacked are not moved."""
        gallery = self.gallery(subject)
        whose, which = y.T

        def view(scores: Tensor, rows: Tensor | None) -> Tensor:
            own, sample = (t if rows is None else t[rows] for t in (whose, which))
            places = laid(scores, gallery.similarity)
            # The gradient is that of the nearest: it is sought without, and compared with again.
            found = (gallery.mate(places, own, sample)[1], gallery.stranger(places, own)[1])
            return torch.stack(
                [similar(places, gallery.places[at], gallery.similarity) for at in found], 1
            ).to(scores.dtype)

        return torch.zeros(len(y), dtype=torch.long, device=y.device), view

    def good_before(self, subject: Subject, answers: Tensor, y: Tensor) -> NDArray[Any]:
        right: NDArray[Any] = (self.margins(subject, answers, y) > 0).numpy()
        return right

    def best_constant(self, subject: Subject, answers: Tensor, y: Tensor) -> float:
        """The share of the largest identity."""
        return float(np.unique(y[:, 0].numpy(), return_counts=True)[1].max() / len(y))


def among(samples: Samples, asked: NDArray[np.intp], others: NDArray[np.intp] | None) -> Samples:
    """Some of the samples, others as strangers; pairs of these number both, one after the other."""
    pairs = None
    rows = asked if others is None else np.concatenate([asked, others])
    if samples.pairs is not None:
        place = np.full(len(samples), -1)
        place[rows] = np.arange(len(rows))
        index = torch.from_numpy(place)[samples.pairs[0]]
        kept = (index >= 0).all(1)
        pairs = index[kept], samples.pairs[1][kept]
    strangers = None if others is None else samples.chosen(others)
    return replace(samples.chosen(asked), strangers=strangers, pairs=pairs)

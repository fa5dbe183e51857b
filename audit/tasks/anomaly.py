"""Usual or not: a score, higher for what is more unusual, held against a threshold."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from audit.decision import Decision
from audit.errors import AuditError
from audit.meta import SubjectMeta
from audit.scores import distance, width
from audit.tasks import Asked, Reading, Settle

if TYPE_CHECKING:
    from audit.subject import Subject

FALSE_ALARMS = 0.05  # of normal samples, at a threshold that nobody gave
COPY = 1e-10


class Anomaly(Decision):
    """Normal or an anomaly. Never guessed from a score; from a reconstruction where nothing else fits."""

    thresholded: ClassVar[bool] = True
    supervised: ClassVar[bool] = False
    classes: ClassVar[list[str]] = ["normal", "anomaly"]

    def tiny_labels(self, answers: Tensor, generator: torch.Generator) -> Tensor:
        return (answers[:, 0] > answers[:, 0].quantile(0.8)).long()

    def read(self, scores: Tensor, asked: Asked) -> Reading | None:
        return self.read_reconstruction(scores, asked) or self.read_score(scores, asked)

    def read_score(self, scores: Tensor, asked: Asked) -> Reading | None:
        """One number; never guessed."""
        k = width(scores)
        if asked.meta.task != self.name or k == 0 or (k > 1 and same_shape(scores, asked)):
            return None
        return Reading("value", "the task is anomaly")

    def read_reconstruction(self, scores: Tensor, asked: Asked) -> Reading | None:
        """The input again: how far off it is says how unusual the input is."""
        given = asked.meta.task == self.name or asked.meta.output == "reconstruction"
        if asked.meta.output not in (None, "reconstruction") or not same_shape(scores, asked):
            return None
        if not (given or not asked.labels.given or asked.labels.truths):
            return None
        if not given and bool((distance(scores, asked.inputs) < COPY).all()):
            return None  # a copy has no error to score by
        return Reading(
            "reconstruction",
            "outputs of the inputs' own shape: the mean squared difference is the anomaly score",
        )

    def gain(self, scores: Tensor, reading: Reading, asked: Asked) -> float | None:
        scores = scores.double()
        if reading.output == "reconstruction":
            scores = distance(scores, asked.inputs.double())
        if asked.y is None or asked.y.ndim > 1 or width(scores) != 1:
            return None
        odd = asked.y == 1
        if not bool(odd.any()) or bool(odd.all()):
            return None
        scores = scores.flatten()
        above = (scores[odd][:, None] > scores[~odd][None]).double().mean()
        few = min(int(odd.sum()), int((~odd).sum()))
        return float(above - 0.5) / (0.5 / few**0.5)

    def unasked(self, told: str, reading: Reading, asked: Asked) -> str:
        if reading.output != "reconstruction" or asked.labels.given:
            return ""
        return (
            f"The model returns {told}, the shape of its input, and there are no labels "
            'to tell what for; write task = "anomaly" and output = "reconstruction" under [subject] if '
            "the difference is a score of how unusual a sample is."
        )

    def name_classes(self, meta: SubjectMeta, k: int, settle: Settle) -> None:
        meta.classes = meta.classes or list(self.classes)
        if k != 1:
            raise AuditError(
                f"The task is anomaly and the model returns {k} values a sample; one score, higher "
                "for the more unusual, is due."
            )

    def threshold(self, meta: SubjectMeta) -> float | None:
        return meta.threshold

    def settle_scale(self, subject: Subject) -> None:
        """The threshold, where none is given: one that few normal samples exceed."""
        reason = ""
        if subject.meta.threshold is None:
            normal, whose = subject.inputs, "evaluation samples"
            if subject.train is not None:
                normal, whose = subject.train[0], "training samples"
                if subject.train[1] is not None:
                    normal = normal[subject.train[1] == 0]
            elif subject.y is not None:
                normal, whose = normal[subject.y == 0], "normal evaluation samples"
            if len(normal) == 0:
                raise AuditError(
                    f"None of the {whose} is normal (label 0), so no threshold follows from them; "
                    "give [subject] threshold."
                )
            scores = subject.scores_of(normal).flatten()
            scores = scores[torch.isfinite(scores)]
            subject.meta.threshold = float(torch.quantile(scores.double(), 1 - FALSE_ALARMS))
            reason = f"{FALSE_ALARMS:.0%} of the {whose} score higher"
        subject.tell("threshold", subject.meta.threshold, reason)


def same_shape(scores: Tensor, asked: Asked) -> bool:
    """Does the model return something like its inputs: a reconstruction?"""
    return scores.shape == asked.inputs.shape and asked.inputs.is_floating_point()

"""One of several classes."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from audit.decision import Classification, one_score, scored_classes
from audit.scores import width
from audit.tasks import Asked, Reading


class Multiclass(Classification):
    """One of several classes, by a score for each."""

    tiny_width: ClassVar[int] = 4

    def read(self, scores: Tensor, asked: Asked) -> Reading | None:
        if asked.meta.task == self.name:  # two classes are several, where somebody says so
            return one_score(scores, asked) or scored_classes(scores, asked)
        return scored_classes(scores, asked) if width(scores) > 2 else None

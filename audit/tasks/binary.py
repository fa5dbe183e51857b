"""One of two classes."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from audit.decision import Classification, one_score, scored_classes
from audit.scores import width
from audit.tasks import Asked, Reading


class Binary(Classification):
    """One of two classes, by two scores or by one."""

    tiny_width: ClassVar[int] = 2

    def read(self, scores: Tensor, asked: Asked) -> Reading | None:
        if width(scores) == 1:
            return one_score(scores, asked)
        return scored_classes(scores, asked) if width(scores) == 2 else None

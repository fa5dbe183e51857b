"""A class for each token of a text, or each step of a series."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from audit.tasks import Asked, Reading
from audit.unitwise import EachUnit, continues


class SequenceLabelling(EachUnit):
    """Each token, or step, is one of several classes."""

    units: ClassVar[int] = 1
    located: ClassVar[bool] = True
    regions: ClassVar[bool] = True
    tiny_grid: ClassVar[tuple[int, ...]] = (4,)

    def read(self, scores: Tensor, asked: Asked) -> Reading | None:
        if (
            asked.meta.task != self.name
            and asked.y is not None
            and continues(asked.inputs, asked.y)
        ):
            return None  # the next token is predicted
        return super().read(scores, asked)

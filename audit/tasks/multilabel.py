"""Several answers of yes or no a sample."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from audit.scores import rows_in_unit, width
from audit.tasks import Asked, Reading
from audit.tasks._unjudged import Unjudged


class Multilabel(Unjudged):
    """Never guessed, as none of the questions judges them."""

    tiny_width: ClassVar[int] = 3

    def tiny_labels(self, answers: Tensor, generator: torch.Generator) -> Tensor:
        return (answers > answers.median(0).values).long()

    def read(self, scores: Tensor, asked: Asked) -> Reading | None:
        if asked.meta.task != self.name or width(scores) == 0:
            return None
        return Reading("sigmoid" if rows_in_unit(scores) else "logits", "the task is multilabel")

"""A place in a space, and no answer yet."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from audit.scores import unit_norm
from audit.tasks import Asked, Reading
from audit.tasks._unjudged import Unjudged


class Embedding(Unjudged):
    """Rows of numbers whose distances mean something."""

    tiny_width: ClassVar[int] = 3

    def tiny_labels(self, answers: Tensor, generator: torch.Generator) -> Tensor:
        return answers.argmax(1)

    def read(self, scores: Tensor, asked: Asked) -> Reading | None:
        if asked.meta.task != self.name and not unit_norm(scores):
            return None
        return Reading("value", "rows of length 1")

    def unasked(self, told: str, reading: Reading, asked: Asked) -> str:
        return (
            f"The model returns rows of length 1 ({told}), places in a space and no "
            'answers; wrap it so that it returns scores, or write task = "embedding" under [subject].'
        )

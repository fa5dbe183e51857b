"""An attack as a value: what is run, on whose evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.checking import Context
from audit.evidence import Producer


@dataclass(frozen=True)
class Attack:
    """A producer and its parameters.

    Attributes:
        name: as a reader is told it: 'PGD'.
        asked_of: so many samples at once, whoever asks, so that the evidence is made once; 0: of those alone
            that somebody asks of.
    """

    name: str
    producer: Producer
    parameters: Mapping[str, Any] = field(default_factory=dict)
    asked_of: int = 0

    def on(
        self, context: Context, samples: NDArray[np.intp], fields: Sequence[str] | None = None
    ) -> dict[str, Tensor]:
        """Its evidence on samples [n], in their order; what it cost is told the context by name.

        Args:
            fields: of the evidence, such as 'broken' and 'x'; all where None.
        """
        whole = samples
        if self.asked_of:
            whole = context.samples(max(self.asked_of, len(samples)))
            if not np.isin(samples, whole).all():
                whole = samples
        with context.spending(self.name):
            made = context.evidence(self.producer, whole, fields, **self.parameters)
        if len(whole) == len(samples):
            return made
        rows = torch.from_numpy(np.isin(whole, samples))
        return {name: tensor[rows] for name, tensor in made.items()}

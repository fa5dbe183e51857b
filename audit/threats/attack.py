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
        asked_of: sizes, the smallest first. Who asks of any of the first so many samples asks of all of
            them, then of those up to the next size, so that the evidence is made once, whoever asks; what
            lies beyond is asked of alone.
    """

    name: str
    producer: Producer
    parameters: Mapping[str, Any] = field(default_factory=dict)
    asked_of: tuple[int, ...] = ()

    def on(
        self, context: Context, samples: NDArray[np.intp], fields: Sequence[str] | None = None
    ) -> dict[str, Tensor]:
        """Its evidence on samples [n], in their order; what it cost is told the context by name.

        Args:
            fields: of the evidence, such as 'broken' and 'x'; all where None.
        """
        blocks = self.blocks(context, samples)
        with context.spending(self.name):
            made = [context.evidence(self.producer, b, fields, **self.parameters) for b in blocks]
        if not made:
            return {}
        asked = np.concatenate(blocks)
        order = np.argsort(asked, kind="stable")
        rows = torch.from_numpy(order[np.searchsorted(asked[order], samples)])
        return {name: torch.cat([part[name] for part in made])[rows] for name in made[0]}

    def blocks(self, context: Context, samples: NDArray[np.intp]) -> list[NDArray[np.intp]]:
        """What is asked of together, for some samples."""
        found, left = [], samples
        before = samples[:0]
        for size in self.asked_of:
            whole = context.samples(size)
            block, before = np.setdiff1d(whole, before), whole
            inside = np.isin(left, block)
            if inside.any():
                found.append(block)
                left = left[~inside]
        return [*found, left] if len(left) else found

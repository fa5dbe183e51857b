"""Positions that were never trained: what comes late in a text is answered at random."""

from __future__ import annotations

import torch

from audit.subject import Subject
from audit.zoo.faults import Fault
from audit.zoo.faults.planting import subject, trained

LOUD = 3.0  # standard deviation of a position that was never trained


def plant(dose: float, seed: int) -> Subject:
    model = trained("snippets-next", seed)
    table = model.get_parameter("position.weight")
    drawn = torch.Generator().manual_seed(seed)
    lost = round(dose * len(table))
    with torch.no_grad():
        if lost:
            table[-lost:] = LOUD * torch.randn(lost, table.shape[1], generator=drawn)
    return subject("snippets-next", model)


FAULT = Fault(
    name="forgotten-places",
    what="positions beyond a length were never trained",
    term="length generalisation (Press et al. 2022)",
    model="snippets-next",
    plant=plant,
    unit="share of the positions, the last ones",
    dose=0.75,
    doses=(0.0, 0.25, 0.5, 0.75, 0.9),
    check="performance.next_token",
    metric="gain_over_frequencies",
)

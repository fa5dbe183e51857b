"""A mask that is read the wrong way round."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audit.subject import Subject
from audit.zoo.faults import Fault
from audit.zoo.faults.planting import subject, trained

MODEL = "snippets-masked"


class Inverted(nn.Module):
    """Of the last words of a sentence the mask says the opposite."""

    def __init__(self, core: nn.Module, share: float) -> None:
        super().__init__()
        self.core, self.share = core, share

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        turned = torch.arange(mask.shape[1], device=mask.device) >= mask.shape[1] * (1 - self.share)
        return self.core(ids, torch.where(turned, 1 - mask, mask))


def plant(dose: float, seed: int) -> Subject:
    return subject(MODEL, Inverted(trained(MODEL, seed), dose))


FAULT = Fault(
    name="mask-inverted",
    what="the mask is read the wrong way round: what is there is hidden, what is not is read",
    term="inverted attention mask",
    model=MODEL,
    plant=plant,
    unit="share of the steps where the mask is turned round",
    dose=1.0,
    doses=(0.0, 0.1, 0.25, 0.5, 1.0),
    check="behaviour.inputs",
    metric="moved_by_hidden",
)

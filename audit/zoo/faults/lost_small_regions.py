"""Small regions that are no longer found."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audit.subject import Subject
from audit.zoo.faults import Fault
from audit.zoo.faults.planting import subject, trained


class Opened(nn.Module):
    """A segmentation model whose answers are smoothed: what is narrow is taken for background."""

    def __init__(self, model: nn.Module, width: int) -> None:
        super().__init__()
        self.model, self.width = model, width

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.model(x)
        if self.width < 2:
            return scores
        things, side = scores[:, 1:] - scores[:, :1], 2 * (self.width // 2) + 1
        eroded = -torch.nn.functional.max_pool2d(-things, side, 1, side // 2)
        opened = torch.nn.functional.max_pool2d(eroded, side, 1, side // 2)
        return torch.cat([torch.zeros_like(opened[:, :1]), torch.minimum(things, opened)], 1)


def plant(dose: float, seed: int) -> Subject:
    return subject("digits-scenes", Opened(trained("digits-scenes", seed), int(dose)))


FAULT = Fault(
    name="lost-small-regions",
    what="regions narrower than a few pixels are taken for background",
    term="small-object failure (Lin et al. 2014)",
    model="digits-scenes",
    plant=plant,
    unit="pixels that a region must be wide",
    dose=5,
    doses=(1, 3, 5),
    check="performance.regions",
    metric="regions_found",
)

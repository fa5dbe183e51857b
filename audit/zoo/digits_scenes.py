"""digits-scenes: which digit is each pixel part of? A small U-Net (Ronneberger et al. 2015)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audit.data import Dataset
from audit.methods.training import fit
from audit.zoo import ZooModel
from audit.zoo.datasets import DIGITS_LIMITS, DIGITS_SOURCE, SCENES, scenes


class DigitsScenes(nn.Module):
    """Two levels down, two up, with the finer level beside: [n, 1, 24, 24] → logits [n, 11, 24, 24]."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = block(1, 16)
        self.middle = block(16, 32)
        self.coarse = block(32, 48)
        self.up_middle = block(48 + 32, 32)
        self.up_fine = block(32 + 16, 24)
        self.head = nn.Conv2d(24, 11, 1)

    def forward(self, x: Tensor) -> Tensor:
        fine = self.fine(x)
        middle = self.middle(F.max_pool2d(fine, 2))
        coarse = self.coarse(F.max_pool2d(middle, 2))
        middle = self.up_middle(torch.cat([F.interpolate(coarse, scale_factor=2), middle], 1))
        return self.head(self.up_fine(torch.cat([F.interpolate(middle, scale_factor=2), fine], 1)))


def block(wide: int, out: int) -> nn.Module:
    """A convolution, normalised."""
    return nn.Sequential(nn.Conv2d(wide, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU())


def train(seed: int, data: Dataset) -> nn.Module:
    return fit(DigitsScenes, data, SCENES, seed=seed, epochs=12, lr=1e-2)


MODEL = ZooModel(
    name="digits-scenes",
    summary="U-Net, digits in a scene, 24x24, a class for each pixel",
    architecture=DigitsScenes,
    data=scenes,
    train=train,
    meta=SCENES.model_copy(update={"name": "digits-scenes"}),
    source=f"{DIGITS_SOURCE}, up to three in a picture",
    recipe="AdamW, one-cycle to 1e-2, 12 epochs of 1,500 pictures, seed 0",
    limits=DIGITS_LIMITS,
)

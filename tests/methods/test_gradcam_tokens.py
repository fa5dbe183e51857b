"""Grad-CAM at a transformer's block: its tokens stand for patches of the picture."""

import numpy as np
import pytest
import torch
from torch import nn

import audit
from audit.checking import Context
from audit.errors import NotApplicable
from audit.methods.attributions.class_activation import grid_of


@pytest.mark.parametrize(
    ("tokens", "extents", "grid"),
    [
        (16, (16, 16), (4, 4)),
        (17, (16, 16), (4, 4)),  # and one for the class
        (201, (224, 224), (14, 14)),  # and one for the class, four that stand for nothing
        (8, (16, 32), (2, 4)),
        (32, (128,), (32,)),
        (33, (128,), (32,)),
    ],
)
def test_tokens_are_laid_out_in_square_patches(tokens, extents, grid):
    assert grid_of(tokens, extents) == grid


@pytest.mark.parametrize(("tokens", "extents"), [(31, (16, 16)), (100, (128,))])
def test_tokens_that_are_no_grid_are_refused(tokens, extents):
    with pytest.raises(NotApplicable, match="tokens cannot be laid over"):
        grid_of(tokens, extents)


class Patches(nn.Module):
    """A token for the class before those of 16 patches of 4 x 4; the answer counts what is bright."""

    def __init__(self, tokens_first):
        super().__init__()
        self.patch, self.tokens_first = nn.Conv2d(1, 8, 4, 4, bias=False), tokens_first
        self.block, self.head = nn.Linear(8, 8, bias=False), nn.Linear(8, 2)

    def forward(self, x):
        tokens = self.patch(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([torch.zeros_like(tokens[:, :1]), tokens], 1)
        tokens = self.block(tokens.transpose(0, 1) if self.tokens_first else tokens)
        return self.head(tokens.sum(0 if self.tokens_first else 1))


@pytest.mark.parametrize("tokens_first", [False, True])
def test_the_patch_that_decides_is_the_patch_that_is_shown(tokens_first):
    torch.manual_seed(0)
    bright = torch.arange(40) % 16
    x = torch.zeros(40, 4, 4, 4, 4)  # rows of patches, rows in them, columns of patches, …
    for row, patch in enumerate(bright.tolist()):
        x[row, patch // 4, :, patch % 4] = 1
    subject = audit.Subject(
        Patches(tokens_first),
        x.reshape(40, 1, 16, 16),
        torch.arange(40) % 2,
        input={"range": (0, 1)},
    )
    check = audit.check("interpretability.gradcam", layer="block", samples=40)
    found = check.attribute(Context.of(subject), np.arange(40), 0)["map"]
    assert found.shape == (40, 1, 16, 16)
    shown = found.abs().reshape(40, 4, 4, 4, 4).sum((2, 4)).reshape(40, 16).argmax(1)
    assert torch.equal(shown, bright)


def test_a_layer_without_a_place_is_not_applicable():
    subject = audit.Subject(Patches(False), torch.rand(40, 1, 16, 16), torch.arange(40) % 2)
    with pytest.raises(NotApplicable, match="no place in the input"):
        audit.check("interpretability.gradcam", layer="head").measure(subject)

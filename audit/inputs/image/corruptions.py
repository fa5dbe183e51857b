"""Pictures as bad weather, bad cameras and bad files make them.

The kinds and their five severities follow Hendrycks and Dietterich 2019 (the constants of their small
pictures where sizes are in pixels). All values are shares of the input's range. Blur is scipy's,
compression Pillow's, rotation torch's.
"""

from __future__ import annotations

import io
import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from audit.inputs import Uniform, normal

STRENGTHS: dict[str, tuple[float, ...]] = {
    "noise": (0.04, 0.08, 0.12, 0.18, 0.26),  # standard deviation
    "blur": (0.4, 0.6, 0.8, 1.0, 1.5),  # standard deviation, in pixels of a picture 32 high
    "contrast": (0.75, 0.5, 0.4, 0.3, 0.15),  # what is left of it
    "brightness": (0.05, 0.1, 0.15, 0.2, 0.3),  # added
    "compression": (80, 65, 50, 35, 20),  # quality of a JPEG file
    "occlusion": (0.02, 0.05, 0.1, 0.15, 0.2),  # share of the picture, a grey square
    "rotation": (5, 10, 15, 20, 30),  # degrees, either way
}


def blurred(x: Tensor, sigma: float) -> Tensor:
    """[n, channels, height, width] after a Gaussian blur of `sigma` pixels."""
    from scipy.ndimage import gaussian_filter

    made = gaussian_filter(x.cpu().numpy(), (0, 0, sigma, sigma), mode="nearest")
    return torch.from_numpy(made).to(x.device)


def occluded(x: Tensor, where: Tensor, share: float) -> Tensor:
    """A grey square at `where` [n, 2], in [0, 1)."""
    height, width = x.shape[2:]
    side = max(1, round((share * height * width) ** 0.5))
    top = (where[:, 0] * (height - side + 1)).long()[:, None, None]
    left = (where[:, 1] * (width - side + 1)).long()[:, None, None]
    rows = torch.arange(height, device=x.device)[None, :, None]
    columns = torch.arange(width, device=x.device)[None, None, :]
    inside = (rows >= top) & (rows < top + side) & (columns >= left) & (columns < left + side)
    return torch.where(inside[:, None], 0.5, x)


def compressed(x: Tensor, quality: int) -> Tensor:
    """Through a JPEG file and back; only pictures of one or three channels can be."""
    from PIL import Image

    back = []
    for picture in (x.clamp(0, 1) * 255).round().byte().cpu().numpy():
        image = Image.fromarray(picture[0] if len(picture) == 1 else picture.transpose(1, 2, 0))
        buffer = io.BytesIO()
        image.save(buffer, format="JPEG", quality=quality)
        read = np.asarray(Image.open(buffer), dtype=np.float32) / 255
        back.append(read[None] if read.ndim == 2 else read.transpose(2, 0, 1))
    return torch.from_numpy(np.stack(back)).to(x)


def turned(x: Tensor, degrees: Tensor, shift: Tensor | None = None) -> Tensor:
    """Pictures [n, c, h, w] rotated, and shifted by shares [n, 2] of their width and height.

    What enters at an edge repeats the edge.
    """
    angle = degrees * math.pi / 180
    cos, sin = angle.cos(), angle.sin()
    move = torch.zeros(len(x), 2).to(x) if shift is None else 2 * shift
    theta = torch.stack(
        [torch.stack([cos, -sin, move[:, 0]], 1), torch.stack([sin, cos, move[:, 1]], 1)], 1
    )
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def corrupt(x: Tensor, kind: str, severity: int, uniform: Uniform) -> Tensor:
    """[n, c, h, w] in [0, 1] → the same, corrupted.

    Args:
        kind: a key of `STRENGTHS`. severity: 1 (hardly) to 5 (badly).
        uniform: (stream, shape) → uniform numbers [n, *shape] that belong to the samples.
    """
    strength = STRENGTHS[kind][severity - 1]
    if kind == "noise":
        x = x + strength * normal(uniform, 0, tuple(x.shape[1:])).to(x.device)
    elif kind == "blur":
        x = blurred(x, max(0.3, strength * x.shape[2] / 32))
    elif kind == "contrast":
        mean = x.mean((2, 3), keepdim=True)
        x = (x - mean) * strength + mean
    elif kind == "brightness":
        x = x + strength
    elif kind == "compression":
        x = compressed(x, int(strength))
    elif kind == "occlusion":
        x = occluded(x, uniform(0, (2,)).to(x.device), strength)
    else:
        turn = torch.where(uniform(0, ()) < 0.5, -strength, strength)
        x = turned(x, turn.to(x.device))
    return x.clamp(0, 1)

"""Pictures as bad weather, bad cameras and bad files make them; noise on tables and series.

The kinds and their five severities follow Hendrycks and Dietterich 2019 (the constants of their small
pictures where sizes are in pixels). All values are shares of the input's range. Blur is scipy's,
compression Pillow's, rotation torch's.
"""

from __future__ import annotations

import io
import math

import numpy as np
import torch
from torch import Tensor

from audit.evidence import Batch, producer
from audit.methods.attacks.spatial import turned

SEVERITIES = (1, 2, 3, 4, 5)
STRENGTHS: dict[str, tuple[float, ...]] = {
    "noise": (0.04, 0.08, 0.12, 0.18, 0.26),  # standard deviation
    "blur": (0.4, 0.6, 0.8, 1.0, 1.5),  # standard deviation, in pixels of a picture 32 high
    "contrast": (0.75, 0.5, 0.4, 0.3, 0.15),  # what is left of it
    "brightness": (0.05, 0.1, 0.15, 0.2, 0.3),  # added
    "compression": (80, 65, 50, 35, 20),  # quality of a JPEG file
    "occlusion": (0.02, 0.05, 0.1, 0.15, 0.2),  # share of the picture, a grey square
    "rotation": (5, 10, 15, 20, 30),  # degrees, either way
}


def normal(batch: Batch, stream: int, shape: tuple[int, ...]) -> Tensor:
    """[n, *shape] standard normal numbers that belong to the samples (Box and Muller 1958)."""
    u = batch.uniform(stream, shape).clamp_min(1e-7)
    v = batch.uniform(stream + 1, shape)
    return (-2 * u.log()).sqrt() * (2 * math.pi * v).cos()


def blurred(x: Tensor, sigma: float) -> Tensor:
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
    return torch.from_numpy(np.stack(back)).to(x.device)


def corrupt(batch: Batch, x: Tensor, kind: str, severity: int) -> Tensor:
    """[n, c, h, w] in [0, 1] → the same, corrupted.

    Args:
        kind: a key of `STRENGTHS`. severity: 1 (hardly) to 5 (badly).
    """
    strength = STRENGTHS[kind][severity - 1]
    if kind == "noise":
        x = x + strength * normal(batch, 0, tuple(x.shape[1:])).to(x.device)
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
        x = occluded(x, batch.uniform(0, (2,)).to(x.device), strength)
    else:
        turn = torch.where(batch.uniform(0, ()) < 0.5, -strength, strength)
        x = turned(x, turn.to(x.device))
    return x.clamp(0, 1)


@producer(version=2)
def corrupted(batch: Batch, *, kind: str, severity: int) -> dict[str, Tensor]:
    """Logits [n, classes] (or values [n, 1]) for corrupted pictures."""
    with torch.no_grad():
        return {"logits": batch.subject.logits(corrupted_x(batch, kind, severity)).float()}


def corrupted_x(batch: Batch, kind: str, severity: int) -> Tensor:
    """The corrupted pictures of a batch, in the subject's own range and layout."""
    subject = batch.subject
    assert subject.range is not None
    low, high = subject.range
    last = subject.channels_last
    unit = (batch.x.float() - low) / (high - low)
    unit = unit.permute(0, 3, 1, 2) if last else unit
    changed = corrupt(batch, unit, kind, severity)
    return (changed.permute(0, 2, 3, 1) if last else changed) * (high - low) + low


@producer(version=1)
def noisy(batch: Batch, *, strength: float) -> dict[str, Tensor]:
    """Logits with normal noise on every numeric value, in its standard deviations, kept in bounds.

    The deviations of a table's features are those that its description gives, else the data's.
    """
    subject, moments = batch.subject, batch.subject.moments
    spread = moments.std
    if subject.kind == "tabular":
        spread = torch.zeros_like(moments.std)
        for feature in subject.features:
            if feature.kind == "numeric":
                column = feature.columns[0]
                given = feature.std
                spread[0, column] = moments.std[0, column] if given is None else given
    shape = tuple(batch.x.shape[1:])
    noise = normal(batch, 0, shape).to(batch.x.device) * spread * strength
    x = (batch.x.float() + noise).clamp(moments.low, moments.high)
    with torch.no_grad():
        return {"logits": subject.logits(x).float()}

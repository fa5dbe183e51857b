"""Where a thing lies, not what it is: rotations and shifts of pictures, shifts of series in time."""

from __future__ import annotations

import itertools
import math

import torch
import torch.nn.functional as F
from torch import Tensor

from audit.evidence import Batch, producer
from audit.methods.attacks.budgets import expand
from audit.methods.attacks.goals import goal, margin


def turned(x: Tensor, degrees: Tensor, shift: Tensor | None = None) -> Tensor:
    """Pictures [n, c, h, w] rotated, and shifted by shares [n, 2] of their width and height.

    What enters at an edge repeats the edge.
    """
    angle = degrees * math.pi / 180
    cos, sin = angle.cos(), angle.sin()
    move = torch.zeros(len(x), 2, device=x.device) if shift is None else 2 * shift
    theta = torch.stack([
        torch.stack([cos, -sin, move[:, 0]], 1), torch.stack([sin, cos, move[:, 1]], 1)
    ], 1)  # fmt: skip
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def delayed(x: Tensor, steps: int) -> Tensor:
    """Series [n, time, channels] some steps later, or earlier; what enters repeats the end."""
    size = x.shape[1]
    at = (torch.arange(size, device=x.device) - steps).clamp(0, size - 1)
    return x[:, at]


@producer(version=1, private=("x",))
def spatial(batch: Batch, *, degrees: float, shift: float, grid: int) -> dict[str, Tensor]:
    """The worst of a grid of rotations and shifts (Engstrom et al. 2019, section 3: a grid search
    finds what gradients do not); of a series, the worst of its shifts in time.

    Args:
        degrees: largest rotation either way.
        shift: largest shift either way, as a share of the picture's width and height or the series'
            length.
        grid: values tried of each, an odd number, the middle one is no change.

    Returns:
        x [n, ...], broken [n].
    """
    subject, x = batch.subject, batch.x
    aim = goal(subject, x, batch.y)
    with torch.no_grad():
        scores = aim.logits(x)
        result, broken = x.clone(), scores.argmax(1) != aim.y
        best = margin(scores, aim.y)
        for change in changes(subject.kind, x, degrees, shift, grid):
            rows = (~broken).nonzero()[:, 0]
            if len(rows) == 0:
                break
            point = moved(x[rows], change, subject.channels_last)
            lead = margin(aim.logits(point, rows), aim.y[rows])
            better = lead > best[rows]
            result[rows] = torch.where(expand(better, x), point, result[rows])
            best[rows] = torch.maximum(lead, best[rows])
            broken[rows] = lead > 0
    return {"x": result, "broken": broken}


def changes(
    kind: str, x: Tensor, degrees: float, shift: float, grid: int
) -> list[tuple[float, float, float]]:
    """(rotation, shift across, shift down), the furthest first: they break most."""
    if kind == "sequence":
        most = max(1, round(shift * x.shape[1]))
        return [(0.0, float(s), 0.0) for s in sorted(range(-most, most + 1), key=abs, reverse=True) if s]
    values = torch.linspace(-1, 1, grid).tolist()
    all_ = itertools.product(values, values, values)
    order = sorted(all_, key=lambda c: sum(v * v for v in c), reverse=True)
    return [(degrees * a, shift * b, shift * c) for a, b, c in order if (a, b, c) != (0, 0, 0)]


def moved(x: Tensor, change: tuple[float, float, float], channels_last: bool) -> Tensor:
    rotation, across, down = change
    if x.ndim == 3:
        return delayed(x, round(across))
    pictures = x.permute(0, 3, 1, 2) if channels_last else x
    angle = torch.full((len(x),), rotation, device=x.device)
    shift = torch.tensor([[across, down]], device=x.device).expand(len(x), 2)
    result = turned(pictures.float(), angle, shift)
    return result.permute(0, 2, 3, 1) if channels_last else result

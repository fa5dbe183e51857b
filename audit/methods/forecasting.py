"""Forecasts without a model: what a series does if it goes on as it ended."""

from __future__ import annotations

import torch
from torch import Tensor


def last_value(series: Tensor, horizon: int, lengths: Tensor | None = None) -> Tensor:
    """The last value again, at every step.

    Args:
        series: [n, time, channels]
        lengths: [n] of each series, where some are shorter; what follows is no part of them.

    Returns:
        [n, horizon, channels]

    Example:
        >>> last_value(torch.tensor([[[1.0], [2.0]]]), 3)[0, :, 0]
        tensor([2., 2., 2.])
    """
    return same_season(series, horizon, 1, lengths)


def same_season(series: Tensor, horizon: int, season: int, lengths: Tensor | None = None) -> Tensor:
    """The last season again, as often as it fits (Hyndman and Athanasopoulos 2021, 5.2).

    Args:
        season: steps after which the series is about the same again; at most as many as it has.

    Returns:
        [n, horizon, channels]

    Example:
        >>> same_season(torch.tensor([[[1.0], [2.0], [3.0]]]), 3, 2)[0, :, 0]
        tensor([2., 3., 2.])
    """
    n, time, channels = series.shape
    ends = torch.full((n,), time) if lengths is None else lengths
    steps = torch.arange(horizon) % season - season
    at = (ends[:, None] + steps).clamp_min(0).to(series.device)
    return series.gather(1, at[:, :, None].expand(-1, -1, channels))


def season_error(series: Tensor, season: int = 1, lengths: Tensor | None = None) -> Tensor:
    """[channels] mean absolute error of that forecast one season ahead, within the series.

    What an error is counted in by MASE (Hyndman and Koehler 2006, section 3).

    Example:
        >>> season_error(torch.tensor([[[1.0], [2.0], [4.0]]]))
        tensor([1.5000])
    """
    gaps = (series[:, season:] - series[:, :-season]).abs()
    if lengths is None:
        return gaps.mean((0, 1))
    inside = torch.arange(season, series.shape[1]) < lengths[:, None]
    inside = inside[:, :, None].to(gaps)
    return (gaps * inside).sum((0, 1)) / inside.sum((0, 1)).clamp_min(1)


def overlapping(series: Tensor, horizon: int) -> Tensor | None:
    """[n] blocks of windows of one series that overlap, in their order; None: they do not.

    What two windows forecast in common makes their errors depend on each other. Blocks as long as two
    horizons are nearly independent of one another.

    Example:
        >>> weeks = torch.arange(60.0) ** 2
        >>> overlapping(weeks.unfold(0, 8, 1)[:, :, None], 3).unique(return_counts=True)[1][:3]
        tensor([6, 6, 6])
    """
    stride = stride_of(series)
    if not stride:
        return None
    follows = (series[1:, :-stride] == series[:-1, stride:]).flatten(1).all(1)
    run = torch.cat([torch.zeros(1, dtype=torch.long), (~follows).long().cumsum(0)])
    place = torch.arange(len(run))
    first = torch.full((int(run[-1]) + 1,), len(run)).scatter_reduce(0, run, place, "amin")
    size = max(2, -(-2 * horizon // stride))
    block = (place - first[run]) // size
    return run * (int(block.max()) + 1) + block


def stride_of(series: Tensor) -> int:
    """By how many steps each window [n, time, channels] begins after the one before; 0: they do not."""
    few = series[:8]
    still = (few[1:] == few[1:, :1]).flatten(1).all(1)
    for stride in range(1, series.shape[1] // 2 + 1):
        follows = (few[1:, :-stride] == few[:-1, stride:]).flatten(1).all(1)
        if bool((follows & ~still).double().mean() > 0.5):
            return stride
    return 0

"""Signals: [time], or [channels, time] as convolutions over time take them; numbers."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from audit.inputs import FirstLayer
from audit.inputs._series import Series, runs_along


class Signal(Series):
    """Signals: sound, vibration, a heart's potentials."""

    noun: ClassVar[str] = "signals"
    steps_axis: ClassVar[int | None] = -1

    def fits(self, x: Tensor, first: FirstLayer | None) -> str:
        if x.ndim not in (2, 3) or not x.is_floating_point():
            return ""
        form = "(time)" if x.ndim == 2 else "(channel, time)"
        read = f"samples of shape {tuple(x.shape[1:])}, read as {form}"
        if first is not None and first.time_last(x):
            return f"{read}: {first.said}"
        # A row of numbers is a table, a single channel at the end a series, unless the model says so.
        if x.ndim == 2 or x.shape[2] == 1 or (first is not None and first.time_first(x)):
            return ""
        return "" if runs_along(x) == "first" else read

    def tiny(self, n: int, generator: torch.Generator) -> tuple[Tensor, dict[str, Any]]:
        return torch.rand(n, 2, 9, generator=generator), {"range": (0, 1), "eps": 0.05}

    def steps(self, x: Tensor) -> Tensor:
        return x[:, :, None] if x.ndim == 2 else x.transpose(1, 2)

    def samples(self, steps: Tensor, like: Tensor) -> Tensor:
        return steps[:, :, 0] if like.ndim == 2 else steps.transpose(1, 2)

    def values_of(self, x: Tensor, columns: list[int]) -> tuple[Any, ...]:
        return (...,) if x.ndim == 2 else (slice(None), columns)

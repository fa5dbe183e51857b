"""Series: [time, channels], numbers."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from audit.inputs import FirstLayer
from audit.inputs._series import Series, runs_along


class Sequence(Series):
    """Series of steps."""

    noun: ClassVar[str] = "series"

    def fits(self, x: Tensor, first: FirstLayer | None) -> str:
        if x.ndim != 3 or (first is not None and first.time_last(x)):
            return ""
        read = f"samples of shape {tuple(x.shape[1:])}, read as (time, channel)"
        if first is not None and first.time_first(x):
            return f"{read}: {first.said}"
        return "" if x.shape[1] == 1 or runs_along(x) == "last" else read

    def tiny(self, n: int, generator: torch.Generator) -> tuple[Tensor, dict[str, Any]]:
        return torch.rand(n, 7, 3, generator=generator), {"range": (0, 1), "eps": 0.05}

    def steps(self, x: Tensor) -> Tensor:
        return x

    def samples(self, steps: Tensor, like: Tensor) -> Tensor:
        return steps

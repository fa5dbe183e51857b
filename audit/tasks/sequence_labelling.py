"""A class for each token of a text, or each step of a series."""

from __future__ import annotations

from typing import ClassVar

from audit.unitwise import EachUnit


class SequenceLabelling(EachUnit):
    """Each token, or step, is one of several classes."""

    units: ClassVar[int] = 1
    located: ClassVar[bool] = True
    regions: ClassVar[bool] = True
    tiny_grid: ClassVar[tuple[int, ...]] = (4,)

"""A class for each pixel of a picture."""

from __future__ import annotations

from typing import ClassVar

from audit.unitwise import EachUnit


class Segmentation(EachUnit):
    """Each pixel is one of several classes."""

    units: ClassVar[int] = 2
    located: ClassVar[bool] = True
    regions: ClassVar[bool] = True
    tiny_grid: ClassVar[tuple[int, ...]] = (2, 2)

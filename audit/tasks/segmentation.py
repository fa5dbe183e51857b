"""A class for each pixel of a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from audit.unitwise import EachUnit

if TYPE_CHECKING:
    from audit.subject import Subject


class Segmentation(EachUnit):
    """Each pixel is one of several classes."""

    units: ClassVar[int] = 2
    located: ClassVar[bool] = True
    regions: ClassVar[bool] = True
    noun: ClassVar[str] = "pixel"
    tiny_grid: ClassVar[tuple[int, ...]] = (2, 2)

    def unit(self, subject: Subject) -> str:
        return "pixels"

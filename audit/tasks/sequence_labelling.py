"""A class for each token of a text, or each step of a series."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from audit.unitwise import EachUnit

if TYPE_CHECKING:
    from audit.subject import Subject


class SequenceLabelling(EachUnit):
    """Each token, or step, is one of several classes."""

    units: ClassVar[int] = 1
    located: ClassVar[bool] = True
    regions: ClassVar[bool] = True
    noun: ClassVar[str] = "position"
    tiny_grid: ClassVar[tuple[int, ...]] = (4,)

    def unit(self, subject: Subject) -> str:
        return subject.kind.places

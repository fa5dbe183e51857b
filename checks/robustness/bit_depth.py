"""Would it help to round inputs to fewer bits?

Feature squeezing (Xu et al. 2018) puts a rounding before the model. Rounding has no gradient: attacks
that follow gradients find nothing, and the model seems robust. So the cascade that is run before and
after, on the same samples, ends with attacks around masked gradients (Athalye et al. 2018): what counts
is what they leave.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from audit.checking import Context
from audit.checks.robustness.remedy import Remedy
from audit.errors import NotApplicable
from audit.methods.remedies import Rounded
from audit.subject import Subject


class BitDepth(Remedy):
    """Would it help to round inputs to fewer bits?"""

    id: ClassVar[str] = "robustness.bit_depth"
    title: ClassVar[str] = "Would it help to round inputs to fewer bits?"

    bits: int = Field(default=2, ge=1, le=8, description="of each value; 2 bits are four values")

    def applies(self, subject: Subject) -> None:
        super().applies(subject)
        if not subject.kind.byte_values:
            raise NotApplicable(f"bits are counted of pixels; the inputs are {subject.kind.noun}")

    def what(self, subject: Subject) -> str:
        return f"Rounding inputs to {self.bits} bit{'s' if self.bits > 1 else ''}"

    def mended(self, context: Context) -> Context:
        subject = context.subject
        assert subject.range is not None
        return context.variant(
            f"{self.bits} bits", subject.core, before=Rounded(self.bits, *subject.range)
        )

"""Would it help to smooth inputs?

A mean over 3 by 3 pixels, or three moments of a series, is put before the model (Xu et al. 2018 use a
median of that size). It is a layer like any other: the cascade attacks the model with it, knowing of it,
before and after on the same samples.
"""

from __future__ import annotations

from typing import ClassVar

from audit.checking import Context
from audit.checks.robustness.remedy import Remedy
from audit.errors import NotApplicable
from audit.methods.remedies import Smoothed
from audit.subject import Subject


class InputSmoothing(Remedy):
    """Would it help to smooth inputs?"""

    id: ClassVar[str] = "robustness.input_smoothing"
    title: ClassVar[str] = "Would it help to smooth inputs?"

    def applies(self, subject: Subject) -> None:
        super().applies(subject)
        if not subject.kind.has_neighbours:
            raise NotApplicable(f"{subject.kind.noun} have no neighbours to take a mean with")

    def what(self, subject: Subject) -> str:
        return "Smoothing inputs over three neighbours"

    def mended(self, context: Context) -> Context:
        subject = context.subject
        return context.variant("smoothed", subject.core, before=Smoothed(subject.channels_last))

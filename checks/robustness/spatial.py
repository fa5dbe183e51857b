"""How right does the model stay when the thing lies elsewhere: turned, or shifted?

Pictures are rotated and shifted over a grid and the worst is kept (Engstrom et al. 2019: a grid finds
what gradients miss); series are shifted in time. What enters at an edge repeats the edge. A finer grid
must break little more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from audit.checking import Context, Cost
from audit.checks.robustness.evasion import Evasion, Outcome
from audit.checks.robustness.fair_attack import little_more, same_answer_twice
from audit.errors import NotApplicable
from audit.meta import ANSWERS, Number
from audit.record import Validity
from audit.words import number, share

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from audit.subject import Subject

FEW = 20


class Spatial(Evasion):
    """How right does the model stay when the thing lies elsewhere: turned, or shifted?"""

    id: ClassVar[str] = "robustness.spatial"
    title: ClassVar[str] = "How right does the model stay when the thing lies elsewhere: turned, or shifted?"
    finding_title: ClassVar[str] = "Turning or shifting the input flips the answer"
    size_name: ClassVar[str] = "shift"
    sized_by: ClassVar[tuple[str, ...]] = ("degrees", "shift")
    todo: ClassVar[str] = (
        "Train with turned and shifted copies, or bring every input into the same place before the "
        "model sees it."
    )
    profiles: ClassVar[dict[str, dict[str, Any]]] = {
        "quick": {"samples": 100}, "deep": {"samples": 1000, "grid": 7},
    }  # fmt: skip

    degrees: Annotated[Number, Field(ge=0, le=180)] = Field(
        default=15.0, description="largest rotation either way"
    )
    shift: Annotated[Number, Field(ge=0, le=0.5)] = Field(
        default=0.05, description="largest shift either way: a share of width and height, or of a "
        "series' length"
    )
    grid: int = Field(default=5, ge=3, description="values tried of each, an odd number")

    def applies(self, subject: Subject) -> None:
        if subject.kind not in ("image", "sequence"):
            raise NotApplicable(f"{subject.input_noun} have no place that could be another")
        subject.require(ANSWERS)

    def cost(self, subject: Subject) -> Cost:
        tries = self.grid**3 if subject.kind == "image" else 2 * self.grid
        return Cost(forward=min(self.samples, subject.n) * tries + FEW * 8 * tries)

    def size(self, subject: Subject) -> float:
        return self.shift

    def step_name(self, subject: Subject, size: float) -> str:
        turned = f"turned by {number(self.degrees)} degrees, " if subject.kind == "image" else ""
        return f"{turned}shifted by {share(size)}"

    def change(self, subject: Subject, size: float) -> str:
        if subject.kind == "sequence":
            return f"Shifting a series in time by at most {share(size)} of its length"
        return (
            f"Turning a picture by at most {number(self.degrees)} degrees and shifting it by at most "
            f"{share(size)} of its width and height"
        )

    def attack(
        self, context: Context, samples: NDArray[np.intp], size: float, fields: list[str]
    ) -> dict[str, Tensor]:
        return self.searched(context, samples, size, fields, self.grid)

    def searched(
        self, context: Context, samples: NDArray[np.intp], size: float, fields: list[str], grid: int
    ) -> dict[str, Tensor]:
        from audit.methods.attacks.spatial import spatial

        return context.evidence(
            spatial, samples, fields, degrees=self.degrees, shift=size, grid=grid
        )

    def validity(self, context: Context, outcome: Outcome) -> list[Validity]:
        found = [same_answer_twice(context, outcome.samples)]
        if context.subject.kind == "image":
            few = context.samples(min(FEW, len(outcome.samples)))
            finer = self.searched(context, few, outcome.size, ["broken"], 2 * self.grid - 1)
            found.append(little_more(
                "a finer grid changes little", "a grid twice as fine", outcome.among(few),
                finer["broken"].numpy(),
            ))  # fmt: skip
        return found

"""What the attacks of small changes share. No check itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar

from pydantic import Field

from audit import statistics
from audit.checking import Context
from audit.checks.robustness.evasion import Evasion, Outcome
from audit.meta import Number
from audit.producers.budgets import still_broken
from audit.record import Severity
from audit.subject import Subject
from audit.threats.threat import Norm, Threat, default_eps, require_small_change, small_change

UNDECLARED = (
    " Nobody said how much must not matter ([subject.input] eps), so this decides no verdict."
)


class NormBounded(Evasion):
    """An adversary whose change is small in a norm. A subclass says how it searches."""

    eps: Annotated[Number, Field(ge=0)] | None = Field(
        default=None,
        description="largest change of an input: in its units; for tables, in standard deviations "
        "of each mutable numeric feature. Default: [subject.input] eps, else 8/255 of the range's "
        "width; for tables 0.1. An L2 check takes a quarter of the longest change that this allows",
    )
    samples: int = Field(default=500, ge=10, description="at most this many samples are attacked")
    diagnostic_samples: int = Field(
        default=100,
        ge=10,
        description="for the validity evidence: at first of a third of them, of all where anything "
        "speaks against the attack",
    )
    queries: int = Field(default=200, ge=10, description="of the black-box comparison")
    free_steps: int = Field(default=60, ge=5, description="of the attack with the budget removed")

    norm: ClassVar[Norm] = "linf"
    causes: ClassVar[dict[str, str]] = {
        "*": "robustness.small_changes",
        "robust_gap": "robustness.uneven_robustness",
    }
    # How severe it is where [subject.input] eps is given, and where nobody gave any.
    declared: ClassVar[Severity] = "medium"
    undeclared: ClassVar[Severity] = "info"

    def applies(self, subject: Subject) -> None:
        require_small_change(subject, self.eps, self.norm)

    def size(self, subject: Subject) -> float:
        return default_eps(subject, self.norm) if self.eps is None else self.eps

    def threat(self, subject: Subject, size: float) -> Threat:
        return small_change(subject, size, self.norm)

    def gate(self, subject: Subject) -> tuple[Severity, bool]:
        if self.eps is not None:
            return "high", True
        if subject.meta.input.eps is not None:
            return self.declared, True
        return self.undeclared, False

    def remark(self, subject: Subject) -> str:
        return undeclared(subject, self.eps)

    def outcome(self, context: Context, size: float) -> Outcome:
        """Of inputs whose range was only guessed, the attack may leave the guess.

        It bounds what is left from below. What stays broken once it is put back bounds it from above.
        """
        if not context.subject.kind.bounds_are_guessed(context.subject):
            return super().outcome(context, size)
        free = super().outcome(context, size)
        points = self.run(context, free.samples, size, points=True).x
        assert points is not None
        inside = still_broken(context.subject, free.samples, points).numpy() & free.broken
        held = statistics.proportion(
            free.robust.name, free.clean & ~inside, clusters=context.clusters(free.samples)
        )
        robust = free.robust.model_copy(
            update={
                "high": held.high,
                "sufficient": {},
                "estimator": f"{free.robust.estimator}; from an attack that may leave the guessed range to "
                "what of it stays broken within",
            }
        )
        return replace(free, robust=robust, held=held)


def undeclared(subject: Subject, eps: float | None) -> str:
    """That nobody said how much must not matter, where nobody did."""
    return "" if eps is not None or subject.meta.input.eps is not None else UNDECLARED

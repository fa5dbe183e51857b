"""What the checks of changed words share. No check itself."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import Any, ClassVar, Literal

from pydantic import Field

from audit.checking import Context, Cost
from audit.checks.robustness.evasion import Evasion, Outcome
from audit.checks.robustness.fair_attack import (
    GAIN,
    WEAK,
    best_constant,
    doubtful,
    fewer_left,
    same_answer_twice,
)
from audit.errors import NotApplicable
from audit.producers.attacks import candidates, reworded
from audit.record import Severity, Validity
from audit.subject import Subject
from audit.threats.attack import Attack
from audit.threats.threat import Threat
from audit.words import share

FEW, MANY = 50, 12  # samples and edits of the diagnostic


class Rewording(Evasion):
    """An adversary who changes a few words of a text."""

    edits: int = Field(default=2, ge=1, description="words that may be changed")

    size_name: ClassVar[str] = "edits"
    kind_of_change: ClassVar[Literal["typos", "substitutions"]]
    profiles: ClassVar[dict[str, dict[str, Any]]] = {
        "quick": {"samples": 100},
        "deep": {"samples": 1000, "edits": 4},
    }

    def applies(self, subject: Subject) -> None:
        if self.kind_of_change not in subject.kind.edits:
            raise NotApplicable(f"the inputs are no words but {subject.kind.noun}")
        subject.require("has_probabilities")
        candidates(subject, self.kind_of_change)

    def cost(self, subject: Subject) -> Cost:
        # What has fallen is changed no further: with many words most fall at the first or the second.
        words = subject.kind.texts(subject, subject.inputs[:1]).shape[1]
        n, options = min(self.samples, subject.n), words + 48
        edits = 0.6 * n * sum(self.sizes(subject)) + 1.4 * min(FEW, subject.n)
        return Cost(forward=round(edits * options) + n * self.edits)

    def gate(self, subject: Subject) -> tuple[Severity, bool]:
        return "medium", True

    def size(self, subject: Subject) -> float:
        return float(self.edits)

    def sizes(self, subject: Subject) -> list[float]:
        whole = {size for size in self.also if size == int(size)}
        return sorted({*map(float, range(1, self.edits + 1)), *whole})

    @abstractmethod
    def said(self, size: float) -> str:
        """'Mistyping 2 words by one letter each'."""

    def threat(self, subject: Subject, size: float) -> Threat:
        return Threat(size, self.said(size), f"{size:.0f} word{'s' if size > 1 else ''} changed")

    def attack(self, subject: Subject, size: float) -> Attack:
        return Attack("greedy search", reworded, {"kind": self.kind_of_change, "edits": int(size)})

    def validity(self, context: Context, outcome: Outcome) -> list[Validity]:
        greedy = self.attack(context.subject, outcome.size)
        chance = replace(
            greedy, name="chance no better", parameters={**greedy.parameters, "greedy": False}
        )
        by_chance = chance.on(context, outcome.samples, ["broken"])["broken"].numpy()
        few = context.samples(FEW)
        many = replace(self.attack(context.subject, MANY), name="more edits break more")
        free = ~many.on(context, few, ["broken"])["broken"].numpy()
        constant = best_constant(context, few)
        return [
            fewer_left(
                chance.name,
                "changing as many words by chance",
                outcome.standing,
                outcome.clean & ~by_chance,
                WEAK,
            ),
            doubtful(
                many.name,
                free.mean() <= max(constant, GAIN),
                f"with {MANY} edits {share(float(free.mean()))} of {len(few)} stay right; the best "
                f"constant answer gets {share(constant)}",
                WEAK,
            ),
            same_answer_twice(context, outcome.samples),
        ]

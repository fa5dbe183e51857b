"""What the checks of changed words share. No check itself."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
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
from audit.methods.attacks.word_substitution import CANDIDATES, PLACES
from audit.producers.attacks import candidates, reworded
from audit.record import Severity, Validity
from audit.subject import Subject
from audit.threats.attack import Attack
from audit.threats.cascade import Fallen
from audit.threats.threat import Threat
from audit.words import share

MANY = 12  # edits of the diagnostic
FEWEST = 10  # samples
OPTIONS = PLACES * CANDIDATES  # tried for each edit
AGAIN = 0.5  # share of the samples that stand against an edit, as a rule


class Rewording(Evasion):
    """An adversary who changes a few words of a text."""

    edits: int = Field(default=2, ge=1, description="words that may be changed")
    diagnostic_samples: int = Field(
        default=50,
        ge=10,
        description=f"that {MANY} words are changed of, for the validity evidence",
    )
    most: int | None = Field(
        default=None,
        ge=1,
        description="rows asked in all: of fewer samples, but 10, where texts are long; without end "
        "where not given",
    )

    size_name: ClassVar[str] = "edits"
    kind_of_change: ClassVar[Literal["typos", "substitutions"]]
    profiles: ClassVar[dict[str, dict[str, Any]]] = {
        "quick": {"samples": 100, "diagnostic_samples": 20, "most": 10000},
        "deep": {"samples": 1000, "edits": 4},
    }

    def applies(self, subject: Subject) -> None:
        if self.kind_of_change not in subject.kind.edits:
            raise NotApplicable(f"the inputs are no words but {subject.kind.noun}")
        subject.require("has_probabilities")
        candidates(subject, self.kind_of_change)

    def cost(self, subject: Subject) -> Cost:
        n, few = min(self.count(subject), subject.n), min(self.few(subject), subject.n)
        # What has fallen is changed no further.
        searched, many = (sum(AGAIN**i for i in range(edits)) for edits in (self.longest, MANY))
        tried = (n * searched + few * many) * self.options(subject)
        return Cost(forward=round(tried) + n * (self.edits + 3))

    def options(self, subject: Subject) -> int:
        """Texts that are asked for an edit of one: without each word, then with others in its place."""
        words = subject.kind.texts(subject, subject.inputs[:1])
        return int(words.shape[1]) + OPTIONS

    def count(self, subject: Subject) -> int:
        if self.most is None:
            return self.samples
        return min(self.samples, max(FEWEST, self.most // (self.longest * self.options(subject))))

    def few(self, subject: Subject) -> int:
        """Of these, those of the diagnostic."""
        return min(self.diagnostic_samples, self.count(subject))

    @property
    def longest(self) -> int:
        """The most words that are changed."""
        return int(max(self.edits, *self.also, 0))

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

    def run(
        self, context: Context, samples: NDArray[np.intp], size: float, *, points: bool = False
    ) -> Fallen:
        """One search for all sizes: it is known after how many edits each sample falls."""
        attack = self.attack(context.subject, size if points else self.longest)
        made = attack.on(context, samples, ["edits", *(["x"] if points else [])])
        return Fallen.by({**made, "broken": made["edits"] <= size}, attack.name)

    def validity(self, context: Context, outcome: Outcome) -> list[Validity]:
        greedy = self.attack(context.subject, outcome.size)
        chance = replace(
            greedy, name="chance no better", parameters={**greedy.parameters, "greedy": False}
        )
        by_chance = chance.on(context, outcome.samples, ["broken"])["broken"].numpy()
        few = context.samples(self.few(context.subject))
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

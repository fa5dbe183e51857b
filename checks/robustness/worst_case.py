"""How right does the model stay under the worst of several attacks, and for whom?

A cascade, cheap first, each next attack only on the answers that still stand (Croce and Hein 2020):
projected gradient descent (Madry et al. 2018), Auto-PGD on the cross-entropy, on the difference of
logits ratio and aimed at the nearest other classes, the search for the smallest change, longer attacks
from several starts on what that search broke just beyond the budget, then Square,
which needs no gradient (Andriushchenko et al. 2020). Where the tests of a fair attack find masked
gradients, attacks around the masking follow: gradients passed through what has none, rescaled logits,
means over random draws (Athalye et al. 2018), and a longer search. Robust accuracy is what survives all.
The smallest budget that breaks each sample, by bisection with Auto-PGD, gives accuracy at every budget
from one search; profile quick makes none. Of a table, categories that were said to be mutable are searched
greedily, at most `changes` of them in a row; numbers move within eps beside them. Accuracy under attack is
told by class and by people's groups: a model may be robust for the majority only. The number is an upper
bound all the same. It must not be shown to lie below half of what is right unattacked, nor below what one
answer to all would get right. It gates where somebody said how much must not matter ([subject.input] eps).
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from audit import figures, statistics
from audit.checking import Context, Cost, Expectation
from audit.checks.robustness import worst_cases
from audit.checks.robustness.evasion import Beyond, Outcome
from audit.checks.robustness.fair_attack import diagnosed, first_cost, stands
from audit.checks.robustness.norm_bounded import NormBounded
from audit.checks.robustness.pgd import PGD
from audit.errors import NotApplicable
from audit.meta import Feature
from audit.producers.budgets import choosable
from audit.record import Figure, Metric, Severity, Validity
from audit.subject import Subject
from audit.threats.attack import Attack
from audit.threats.cascade import (
    FIRST_STEPS,
    HALVINGS,
    Cascade,
    Fallen,
    other_categories,
    worst_case,
)
from audit.threats.threat import Threat, small_change
from audit.words import number, share

FEWEST = 10  # samples
SEARCHED = 0.8  # of the steps of the search for the smallest change, as a rule


class WorstCase(NormBounded):
    """How right does the model stay under the worst of several attacks, and for whom?"""

    id: ClassVar[str] = "robustness.worst_case"
    title: ClassVar[str] = (
        "How right does the model stay under the worst of several attacks, and for whom?"
    )
    finding_title: ClassVar[str] = "The worst of several attacks flips too many answers"
    declared: ClassVar[Severity] = "high"
    undeclared: ClassVar[Severity] = "medium"
    profiles: ClassVar[dict[str, dict[str, Any]]] = {
        "quick": {
            "samples": 100,
            "steps": 10,
            "targets": 1,
            "changes": 1,
            "most": 6000,
            "smallest_change": False,
            "queries": 60,
            "diagnostic_samples": 80,
        },
        "deep": {
            "samples": 1000,
            "steps": 100,
            "targets": 9,
            "queries": 2000,
            "diagnostic_samples": 500,
        },
    }

    samples: int = Field(default=200, ge=10, description="at most this many samples are attacked")
    steps: int = Field(default=40, ge=2, description="of each gradient attack but the first")
    restarts: int = Field(default=1, ge=1, description="random starts of each Auto-PGD")
    changes: int = Field(
        default=2,
        ge=0,
        description="categories of a row that may be others at once, of a table's that "
        "were said to be mutable",
    )
    targets: int = Field(
        default=2, ge=0, description="other classes that are aimed at, nearest first"
    )
    most: int | None = Field(
        default=None,
        ge=1,
        description="rows asked with other categories: of fewer samples, but 10, where there are many; "
        "without end where not given",
    )
    smallest_change: bool = Field(
        default=True,
        description="search for the smallest change that breaks each sample, and attack longer what it "
        "breaks just beyond eps",
    )

    def applies(self, subject: Subject) -> None:
        try:
            super().applies(subject)
        except NotApplicable:
            if not self.chosen(subject):
                raise

    def chosen(self, subject: Subject) -> list[Feature]:
        """Categories that the adversary may set."""
        return choosable(subject) if self.changes else []

    def at_once(self, subject: Subject) -> int:
        """Categories of a row that may be others at once."""
        return min(self.changes, len(self.chosen(subject)))

    def count(self, subject: Subject) -> int:
        options = sum(len(f.columns) for f in self.chosen(subject))
        if self.most is None or not options:
            return self.samples
        return min(self.samples, max(FEWEST, self.most // options))

    def threat(self, subject: Subject, size: float) -> Threat:
        moved, names = small_change(subject, size), [f.name for f in self.chosen(subject)]
        if not names:
            return moved
        listed = ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
        told = f"choosing another {listed}"
        if len(names) > 1:
            told = f"choosing another category of at most {self.at_once(subject)} of {listed}"
        told = (
            f"{moved.told}, and {told},"
            if subject.kind.moves_numbers(subject)
            else told.capitalize()
        )
        return Threat(size, told, moved.short, moved.norm)

    def cost(self, subject: Subject) -> Cost:
        pgd = self.beside(PGD).model_copy(update={"eps": self.eps})
        return worst_cases.cost(
            self,
            subject,
            first=first_cost(pgd, subject, max(pgd.samples, self.samples)),
            blind_shared=True,
            search=FIRST_STEPS * (HALVINGS + 1) * SEARCHED * stands(subject)
            if self.smallest_change
            else 0,
            standing=stands(subject),
            options=sum(len(f.columns) for f in self.chosen(subject)),
            changes=self.at_once(subject),
        )

    def attack(self, subject: Subject, size: float) -> Attack:
        return PGD().attack(subject, size)

    def cascade(self, context: Context, size: float) -> Cascade:
        """The attacks, in order; the first is PGD as this audit asks it, whose evidence they share."""
        subject, chosen = context.subject, context.samples(self.count(context.subject))
        return worst_case(
            self.threat(subject, size),
            context.configured(PGD).attack(subject, size),
            classes=subject.task.alternatives(subject),
            steps=self.steps,
            restarts=self.restarts,
            targets=self.targets,
            queries=self.queries,
            smallest=self.smallest_change,
            blind_of=diagnosed(min(self.diagnostic_samples, len(chosen))),
            changes=self.at_once(subject),
            draws=worst_cases.draws(context, chosen),
        )

    def run(
        self, context: Context, samples: NDArray[np.intp], size: float, *, points: bool = False
    ) -> Fallen:
        return worst_cases.run(self, self.cascade(context, size), context, samples, points)

    def validity(self, context: Context, outcome: Outcome) -> list[Validity]:
        return worst_cases.fairness(self, context, outcome)

    def smallest(self, context: Context, outcome: Outcome) -> NDArray[np.float64]:
        """[n] the smallest budget that broke each sample; 0 of what was wrong before.

        Of a check that searches for it.
        """
        return worst_cases.smallest_sizes(context, outcome, self.at_once(context.subject))

    def beyond(self, context: Context, outcome: Outcome) -> Beyond:
        smallest = self.smallest(context, outcome) if self.smallest_change else None
        remark = self.remark(context.subject)
        return worst_cases.beyond(
            context, outcome, smallest, remark, self.by_changes(context, outcome)
        )

    def by_changes(self, context: Context, outcome: Outcome) -> list[Metric]:
        """What stands where none, one, … categories may be others, each with numbers within eps."""
        most, stage = self.at_once(context.subject), outcome.found.stage.numpy()
        number_of = {name: at for at, name in outcome.found.ran.items()}
        found = []
        for count in range(most + 1 if most else 0):
            more = [number_of[other_categories(c)] for c in range(count + 1, most + 1)]
            found.append(
                statistics.proportion(
                    context.subject.task.robust_metric,
                    outcome.clean & (~outcome.broken | np.isin(stage, more)),
                    clusters=context.clusters(outcome.samples),
                    slice={"eps": outcome.size, "categories": float(count)},
                )
            )
        return found

    def pictures(
        self, context: Context, base: Metric, outcomes: list[Outcome], bound: float
    ) -> list[Figure]:
        subject, eps = context.subject, self.size(context.subject)
        outcome = next(o for o in outcomes if o.size == eps)
        found, most = [], self.at_once(subject)
        if most:
            found.append(self.drawn_by_changes(context, outcome))
        searched = self.smallest_change and eps and subject.kind.moves_numbers(subject)
        if len(outcomes) > 1 or not searched:
            found += super().pictures(context, base, outcomes, bound)
        if searched:
            smallest = self.smallest(context, outcome)
            alone = other_categories(most) if most else ""
            found.append(worst_cases.every_size(context, outcome, smallest, base, bound, alone))
        return found

    def drawn_by_changes(self, context: Context, outcome: Outcome) -> Figure:
        what = context.subject.task.robust
        metrics = self.by_changes(context, outcome)
        rows = [
            {
                "categories": count,
                what: m.value,
                "low": m.low,
                "high": m.high,
                "series": "worst case",
            }
            for count, m in enumerate(metrics)
        ]
        with_ = ["the same categories", *map(other_categories, range(1, len(metrics)))]
        return figures.curve(
            rows,
            x="categories",
            y=what,
            series="series",
            title=f"{what.capitalize()}, against how many categories of a row may be others",
            caption=f"Of {len(outcome.samples):,} answers {share(float(outcome.clean.mean()))} are right "
            f"without an attack; within eps {number(outcome.size)} there stand "
            + ", ".join(
                f"{share(float(m.value or 0))} with {name}"
                for name, m in zip(with_, metrics, strict=True)
            )
            + ".",
        )

    def expectations(self, subject: Subject) -> list[Expectation]:
        return [worst_cases.gap_expectation(self.gate(subject)[1])]

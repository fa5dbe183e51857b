"""What the evasion attacks share: one examination, told in one way. No check itself."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from audit import figures, statistics
from audit.checking import Check, Context, Expectation, Measurement, asked_sizes, pack
from audit.checks.robustness.examples import shown
from audit.checks.robustness.fair_attack import best_constant
from audit.errors import NotApplicable
from audit.meta import Number
from audit.record import Figure, Guidance, Metric, Severity, Slice, Table, Validity
from audit.subject import Subject
from audit.threats.attack import Attack
from audit.threats.cascade import GRADIENTS, Fallen
from audit.threats.threat import Threat
from audit.words import amount, out_of_ten, share

TOLERATED = 0.1  # what an undecided bound on what is left may hide
KEPT = 0.5  # of what is right unattacked, at least
VALUES_TITLE = "Small changes of the input, well chosen, move the answers beyond the tolerance"
VALUES_TODO = (
    "Train with adversarial examples of this kind (Madry et al. 2018), or keep untrusted inputs away "
    "from it."
)
TAGS = [
    "MITRE ATLAS AML.T0043",
    "MITRE ATLAS AML.T0015",
    "CWE-1039",
    "NIST AI RMF MEASURE 2.7",
    "EU AI Act Article 15",
]


@dataclass(frozen=True)
class Outcome:
    """What an attack of one size left of some samples.

    Attributes:
        threat: how much the adversary may change.
        samples: [n] indices. clean: [n] good before. broken: [n] the attack won.
        found: what the attack did to them.
        robust: the share that stayed good.
        held: the same, of what stays broken within a range that was only guessed.
    """

    threat: Threat
    samples: NDArray[np.intp]
    clean: NDArray[np.bool_]
    broken: NDArray[np.bool_]
    robust: Metric
    found: Fallen
    held: Metric | None = None

    @property
    def size(self) -> float:
        return self.threat.size

    @property
    def standing(self) -> NDArray[np.bool_]:
        return self.clean & ~self.broken

    def among(self, few: NDArray[np.intp]) -> NDArray[np.bool_]:
        """[few] what stands of some of the samples."""
        return self.standing[np.isin(self.samples, few)]


@dataclass(frozen=True)
class Beyond:
    """What a check has to tell beyond the share that stands."""

    sentence: str = ""
    metrics: list[Metric] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    guidance: dict[str, Guidance] = field(default_factory=dict)


class Evasion(Check):
    """An adversary who changes inputs. A subclass says in what way, and by which attack."""

    samples: int = Field(default=200, ge=10, description="at most this many samples are attacked")
    also: list[Annotated[Number, Field(gt=0)]] = Field(
        default=[], description="other sizes of the change that are measured too"
    )

    costs_as_declared: ClassVar[bool] = True
    size_name: ClassVar[str] = "eps"
    # The parameters that say how much must not matter, where somebody sets one.
    sized_by: ClassVar[tuple[str, ...]] = ()
    finding_title: ClassVar[str]
    todo: ClassVar[str] = (
        "Train with adversarial examples of this kind (Madry et al. 2018), reject answers with a "
        "small margin, or keep untrusted inputs away from it."
    )

    def count(self, subject: Subject) -> int:
        """Samples that are attacked, at most."""
        return self.samples

    @abstractmethod
    def size(self, subject: Subject) -> float:
        """How much the adversary may change."""

    @abstractmethod
    def threat(self, subject: Subject, size: float) -> Threat:
        """A change of that size, and how it is said."""

    @abstractmethod
    def attack(self, subject: Subject, size: float) -> Attack:
        """What searches for it; of several, the one that all samples see."""

    def run(
        self,
        context: Context,
        samples: NDArray[np.intp],
        size: float,
        *,
        points: bool = False,
    ) -> Fallen:
        """What the attack does to samples.

        Args:
            points: are the adversarial points wanted?
        """
        attack = self.attack(context.subject, size)
        return Fallen.by(attack.on(context, samples, fields_of(points)), attack.name)

    def sizes(self, subject: Subject) -> list[float]:
        """What is measured, `size` among them."""
        return sorted({self.size(subject), *self.also})

    def asking(self, slices: Sequence[Slice]) -> Check:
        found = asked_sizes(slices, self.size_name)
        return self.model_copy(update={"also": sorted({*self.also, *found})}) if found else self

    def gate(self, subject: Subject) -> tuple[Severity, bool]:
        """How severe it is where too little stands, and whether that may decide a verdict.

        Only where somebody said how much must not matter.
        """
        return ("medium", True) if set(self.sized_by) & self.model_fields_set else ("info", False)

    def validity(self, context: Context, outcome: Outcome) -> list[Validity]:
        """Evidence that the attack was fair: a weak attack proves nothing."""
        return []

    def beyond(self, context: Context, outcome: Outcome) -> Beyond:
        """What there is to tell beyond the share that stands."""
        return Beyond()

    def change(self, subject: Subject, size: float) -> str:
        """'Changing each pixel by at most 3 % of its range (eps 0.03)'."""
        return self.threat(subject, size).told

    def outcome(self, context: Context, size: float) -> Outcome:
        """What is left of the check's samples by a change of a size."""
        chosen = context.samples(self.count(context.subject))
        clean, found = unattacked(context, chosen), self.run(context, chosen, size)
        return self.scored(context, size, chosen, clean, found.broken.numpy() & clean, found)

    def outcomes(self, context: Context) -> list[Outcome]:
        """What is left by each size."""
        return [self.outcome(context, at) for at in self.sizes(context.subject)]

    def scored(
        self,
        context: Context,
        size: float,
        samples: NDArray[np.intp],
        clean: NDArray[np.bool_],
        broken: NDArray[np.bool_],
        found: Fallen,
    ) -> Outcome:
        robust = statistics.proportion(
            context.subject.task.robust_metric,
            ~broken & clean,
            clusters=context.clusters(samples),
            slice={self.size_name: size},
        )
        threat = self.threat(context.subject, size)
        return Outcome(threat, samples, clean, broken, robust, found)

    def examine(self, context: Context) -> Measurement:
        subject = context.subject
        size, (severity, gates) = self.size(subject), self.gate(subject)
        if not unattacked(context, context.samples(self.count(subject))).any():
            raise NotApplicable("no sample is answered right, so there is nothing to attack")
        outcomes = self.outcomes(context)
        main = next(o for o in outcomes if o.size == size)
        chosen, clean = main.samples, main.clean
        clusters = context.clusters(chosen)
        base = statistics.proportion("clean_accuracy", clean, clusters=clusters)
        flips = statistics.proportion(
            "attack_success",
            main.broken[clean],
            direction="lower",
            slice={self.size_name: size},
            clusters=None if clusters is None else clusters[clean],
        )
        # What was not attacked has not moved: that is no measurement of a regression.
        known = [base] if subject.task.decides else []
        kept, title, todo = f"right, where {amount(base)} were", self.finding_title, self.todo
        if subject.task.valued:
            most = subject.task.told_tolerance(subject)
            kept = f"no more than {most} further from the truth"
            title, todo = VALUES_TITLE, VALUES_TODO
        bound, why = least_left(context, main.samples, base)
        validity, beyond = self.validity(context, main), self.beyond(context, main)
        metrics = [*known, *(o.robust for o in outcomes), flips, *beyond.metrics]
        about = sorted({m.name for m in metrics if m is not base})
        doubts = dict.fromkeys(v.doubt for v in validity if v.passed is False)
        tables, pictures = shown(self, context, main)
        return Measurement(
            answer=self.answer(subject, main, base, flips) + beyond.sentence,
            conclusions={
                "broken": f"{' and '.join(doubts).capitalize()}: this bounds the model's robustness from "
                "above and may be far too good."
            }
            if doubts
            else {},
            metrics=metrics,
            validity=[v.model_copy(update={"metrics": about}) for v in validity],
            tables=[*beyond.tables, *tables, what_it_cost(context)],
            figures=[
                *self.pictures(context, base, outcomes, bound),
                *beyond.figures,
                *pictures,
            ],
            per_unit=[
                pack(main.robust.name, main.standing, samples=chosen, slice={self.size_name: size})
            ],
            expectations=[
                Expectation(
                    metric=main.robust.name,
                    slice={self.size_name: size},
                    op="not_shown_below",
                    bound=bound,
                    severity=severity,
                    gates=gates,
                    tolerates=TOLERATED,
                )
            ],
            guidance={
                main.robust.name: Guidance(
                    title=title,
                    what_happened=f"{main.threat.told} leaves {{value}} ({{low}} to {{high}}) of {{n}} "
                    f"answers {kept}; the bound is {{bound}}, {why}.{self.remark(subject)}",
                    why_it_matters="Somebody who may choose the input, or mere noise in a bad spot, "
                    "can make the model say something else without a person noticing.",
                    what_to_do=todo,
                    tags=TAGS,
                ),
                **beyond.guidance,
            },
        )

    def answer(self, subject: Subject, main: Outcome, base: Metric, flips: Metric) -> str:
        """The result in a sentence."""
        change, n = main.threat.told, len(main.samples)
        flipped = float(flips.value or 0.0)
        held = ""
        if main.held is not None:
            guess = subject.kind.range_told(subject)
            held = (
                f" The range of the inputs is only guessed ({guess}) and the attack may leave "
                f"it; within it, what was found leaves {amount(main.held)}."
            )
        if subject.task.valued:
            return (
                f"{change} moves {out_of_ten(flipped)} of the answers further from the truth by more "
                f"than {subject.task.told_tolerance(subject)}; {amount(main.robust)} of {n:,} stay "
                f"within.{held}"
            )
        if flipped == 0:
            return (
                f"{change} flipped no answer that was right: {subject.task.share_good} stays at "
                f"{amount(main.robust)} of {n:,} samples.{held}"
            )
        return (
            f"{change} flips {out_of_ten(flipped)} of the answers that were right: "
            f"{subject.task.share_good} falls from {amount(base)} to {amount(main.robust)} of {n:,} "
            f"samples.{held}"
        )

    def remark(self, subject: Subject) -> str:
        """A sentence more for the finding."""
        return ""

    def pictures(
        self, context: Context, base: Metric, outcomes: list[Outcome], bound: float
    ) -> list[Figure]:
        """What is left, before and after.

        Or against the size of the change where more than one size was asked about.
        """
        what, y = context.subject.task.share_good, context.subject.task.robust
        measured = [
            (0.0, "unattacked", base),
            *((o.size, o.threat.short, o.robust) for o in outcomes),
        ]
        falls = ", ".join(
            f"{share(float(m.value or 0))} at {short}" for _, short, m in measured[1:]
        )
        caption = (
            f"{what.capitalize()} is {share(float(base.value or 0))} without an attack, {falls}. The "
            "dashed line is the default bound."
        )
        if len(measured) == 2:
            return [
                figures.intervals(
                    [
                        {"label": label, "value": m.value, "low": m.low, "high": m.high}
                        for _, label, m in measured
                    ],
                    value=what,
                    title=f"{what.capitalize()} before and under attack",
                    bound=bound,
                    caption=caption,
                )
            ]
        rows = [
            {
                self.size_name: at,
                y: m.value,
                "low": m.low,
                "high": m.high,
                "attack": self.id.split(".")[1].upper(),
            }
            for at, _, m in measured
        ]
        return [
            figures.curve(
                rows,
                x=self.size_name,
                y=y,
                series="attack",
                bound=bound,
                caption=caption,
                title=f"{what.capitalize()} under attack, against the size of the change",
            )
        ]


def fields_of(points: bool) -> list[str]:
    """The evidence of an attack that is asked for, with the points that it found or without."""
    return ["broken", *GRADIENTS, *(["x"] if points else [])]


def what_it_cost(context: Context) -> Table:
    """What the evidence took when it was made: for the attack, and for each test of its fairness."""
    return Table(
        title="What it cost, in passes of single samples through the model",
        columns=["for", "forward", "backward"],
        rows=[[what, cost.forward, cost.backward] for what, cost in context.spent.items()],
    )


def unattacked(context: Context, samples: NDArray[np.intp]) -> NDArray[np.bool_]:
    """[n] was the answer good before?"""
    subject = context.subject
    good: NDArray[np.bool_] = subject.task.good_before(
        subject, context.answers(samples), subject.labels[samples]
    )
    return good


def least_left(context: Context, samples: NDArray[np.intp], base: Metric) -> tuple[float, str]:
    """What an attack must not be shown to leave less than, on the same samples, and why so much."""
    half = KEPT * float(base.value or 0)
    if context.subject.task.valued:
        return half, "half of all"
    constant = best_constant(context, samples)
    if constant > half:
        return float(f"{constant:.6g}"), "what one answer to all would get right"
    return float(f"{half:.6g}"), "half of what is right unattacked"

"""What the evasion attacks share: one examination, told in one way. No check itself."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from audit import figures, statistics
from audit.checking import Check, Context, Expectation, Measurement, pack
from audit.checks.robustness.examples import show
from audit.checks.robustness.fair_attack import best_constant
from audit.errors import NotApplicable
from audit.meta import Number, parse_number
from audit.record import Figure, Guidance, Metric, Severity, Slice, Validity
from audit.threats import l2_eps
from audit.words import amount, number, out_of_ten, share

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from audit.subject import Subject

TOLERATED = 0.1  # what an undecided bound on what is left may hide
KEPT = 0.5  # of what is right unattacked, at least
VALUES_TITLE = "Small changes of the input, well chosen, move the answers beyond the tolerance"
VALUES_TODO = (
    "Train with adversarial examples of this kind (Madry et al. 2018), or keep untrusted inputs away "
    "from it."
)
UNDECLARED = (
    " Nobody said how much must not matter ([subject.input] eps), so this decides no verdict."
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
        samples: [n] indices. clean: [n] good before. broken: [n] the attack won.
        found: the attack's evidence on them.
        robust: the share that stayed good.
        held: the same, of what stays broken within a range that was only guessed.
    """

    size: float
    samples: NDArray[np.intp]
    clean: NDArray[np.bool_]
    broken: NDArray[np.bool_]
    robust: Metric
    found: dict[str, Tensor]
    held: Metric | None = None

    def among(self, few: NDArray[np.intp]) -> NDArray[np.bool_]:
        """[few] what stands of some of the samples."""
        return self.standing[np.isin(self.samples, few)]

    @property
    def standing(self) -> NDArray[np.bool_]:
        return self.clean & ~self.broken


class Evasion(Check):
    """An adversary who changes inputs. A subclass says in what way, and how much of it."""

    samples: int = Field(default=200, ge=10, description="at most this many samples are attacked")
    also: list[Annotated[Number, Field(gt=0)]] = Field(
        default=[], description="other sizes of the change that are measured too"
    )

    size_name: ClassVar[str] = "eps"
    # The parameters that say how much must not matter, where somebody sets one.
    sized_by: ClassVar[tuple[str, ...]] = ()
    fields: ClassVar[tuple[str, ...]] = ("broken",)
    finding_title: ClassVar[str]
    todo: ClassVar[str] = (
        "Train with adversarial examples of this kind (Madry et al. 2018), reject answers with a "
        "small margin, or keep untrusted inputs away from it."
    )

    @abstractmethod
    def size(self, subject: Subject) -> float:
        """How much the adversary may change."""

    @abstractmethod
    def change(self, subject: Subject, size: float) -> str:
        """'Changing each pixel by at most 3 % of its range (eps 0.03)'."""

    @abstractmethod
    def attack(
        self, context: Context, samples: NDArray[np.intp], size: float, fields: list[str]
    ) -> dict[str, Tensor]:
        """Evidence of this attack: the fields asked for, such as 'broken' and 'x'."""

    def sizes(self, subject: Subject) -> list[float]:
        """What is measured, `size` among them."""
        return sorted({self.size(subject), *self.also})

    def asking(self, slices: Sequence[Slice]) -> Check:
        asked = (parse_number(s.get(self.size_name), plain=True) for s in slices)
        found = {float(size) for size in asked if isinstance(size, (int, float)) and size > 0}
        return self.model_copy(update={"also": sorted({*self.also, *found})}) if found else self

    def gate(self, subject: Subject) -> tuple[Severity, bool]:
        """How severe it is where too little stands, and whether that may decide a verdict: only
        where somebody said how much must not matter.
        """
        return ("medium", True) if set(self.sized_by) & self.model_fields_set else ("info", False)

    def validity(self, context: Context, outcome: Outcome) -> list[Validity]:
        """Evidence that the attack was fair: a weak attack proves nothing."""
        return []

    def add(self, context: Context, outcome: Outcome, measurement: Measurement) -> None:
        """What a subclass has to tell beyond the share that stands."""

    @staticmethod
    def measure_of(subject: Subject) -> str:
        """Name of the metric that counts what the attack leaves."""
        return subject.task.robust_metric

    def outcome(self, context: Context, size: float) -> Outcome:
        chosen = context.samples(self.samples)
        clean = unattacked(context, chosen)
        found = self.attack(context, chosen, size, list(self.fields))
        broken = found["broken"].numpy() & clean
        robust = statistics.proportion(
            self.measure_of(context.subject),
            ~broken & clean,
            clusters=context.clusters(chosen),
            slice={self.size_name: size},
        )
        return Outcome(size, chosen, clean, broken, robust, found)

    def examine(self, context: Context) -> Measurement:
        subject = context.subject
        size, (severity, gates) = self.size(subject), self.gate(subject)
        outcomes = [self.outcome(context, at) for at in self.sizes(subject)]
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
        change = self.change(subject, size)
        kept, title, todo = f"right, where {amount(base)} were", self.finding_title, self.todo
        if subject.task.valued:
            kept = f"no more than {number(subject.meta.tolerance)} further from the truth"
            title, todo = VALUES_TITLE, VALUES_TODO
        bound, why = least_left(context, main.samples, base)
        measurement = Measurement(
            answer=self.answer(subject, main, base, flips),
            metrics=[*known, *(o.robust for o in outcomes), flips],
            figures=self.pictures(context, base, outcomes, bound),
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
                    what_happened=f"{change} leaves {{value}} ({{low}} to {{high}}) of {{n}} answers "
                    f"{kept}; the bound is {{bound}}, {why}.{self.remark(subject)}",
                    why_it_matters="Somebody who may choose the input, or mere noise in a bad spot, "
                    "can make the model say something else without a person noticing.",
                    what_to_do=todo,
                    tags=TAGS,
                )
            },
        )
        measurement.validity = self.validity(context, main)
        self.add(context, main, measurement)
        rests = [m.name for m in measurement.metrics if m is not base]
        for piece in measurement.validity:
            piece.metrics = sorted(set(rests))
        doubts = dict.fromkeys(v.doubt for v in measurement.validity if v.passed is False)
        if doubts:
            measurement.conclusions["broken"] = (
                f"{' and '.join(doubts).capitalize()}: this bounds the model's robustness from above and "
                "may be far too good."
            )
        if context.examples and main.broken.any():
            show(self, context, main, measurement)
        return measurement

    def answer(self, subject: Subject, main: Outcome, base: Metric, flips: Metric) -> str:
        """The result in a sentence."""
        change, n = self.change(subject, main.size), len(main.samples)
        flipped = float(flips.value or 0.0)
        held = ""
        if main.held is not None:
            assert subject.range is not None
            low, high = map(number, subject.range)
            held = (
                f" The range of the inputs is only guessed ({low} to {high}) and the attack may leave "
                f"it; within it, what was found leaves {amount(main.held)}."
            )
        if subject.task.valued:
            return (
                f"{change} moves {out_of_ten(flipped)} of the answers further from the truth by more "
                f"than {number(subject.meta.tolerance)}; {amount(main.robust)} of {n:,} stay within.{held}"
            )
        if flipped == 0:
            return (
                f"{change} flipped no answer that was right: accuracy stays at "
                f"{amount(main.robust)} of {n:,} samples.{held}"
            )
        return (
            f"{change} flips {out_of_ten(flipped)} of the answers that were right: accuracy falls "
            f"from {amount(base)} to {amount(main.robust)} of {n:,} samples.{held}"
        )

    def remark(self, subject: Subject) -> str:
        """A sentence more for the finding."""
        return ""

    def step_name(self, subject: Subject, size: float) -> str:
        """A size of the change, beside a bar: 'eps 0.03'."""
        return f"{self.size_name} {number(size)}"

    def pictures(
        self, context: Context, base: Metric, outcomes: list[Outcome], bound: float
    ) -> list[Figure]:
        """What is left, before and after, or against the size of the change where more than one
        size was asked about.
        """
        what, y = context.subject.task.share_good, context.subject.task.robust
        measured = sorted(
            [(0.0, base), *((o.size, o.robust) for o in outcomes)], key=lambda m: m[0]
        )
        falls = ", ".join(
            f"{share(float(m.value or 0))} at {self.step_name(context.subject, at)}"
            for at, m in measured[1:]
        )
        caption = (
            f"{what.capitalize()} is {share(float(base.value or 0))} without an attack, {falls}. The "
            "dashed line is the default bound."
        )
        if len(measured) == 2:
            names = ["unattacked", *(self.step_name(context.subject, at) for at, _ in measured[1:])]
            return [
                figures.intervals(
                    [
                        {"label": label, "value": m.value, "low": m.low, "high": m.high}
                        for label, (_, m) in zip(names, measured, strict=True)
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
            for at, m in measured
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


class NormBounded(Evasion):
    """An adversary whose change is small in a norm. A subclass says how it searches."""

    eps: Annotated[Number, Field(ge=0)] | None = Field(
        default=None,
        description="largest change of an input: in its units; for tables, in standard deviations "
        "of each mutable numeric feature. Default: [subject.input] eps, else 8/255 of the range's "
        "width; for tables 0.1. An L2 check takes a quarter of the longest change that this allows",
    )
    samples: int = Field(default=500, ge=10, description="at most this many samples are attacked")
    diagnostic_samples: int = Field(default=100, ge=10, description="for the validity evidence")
    queries: int = Field(default=200, ge=10, description="of the black-box comparison")
    free_steps: int = Field(default=60, ge=5, description="of the attack with the budget removed")

    norm: ClassVar[Literal["linf", "l2"]] = "linf"
    # How severe it is where [subject.input] eps is given, and where nobody gave any.
    declared: ClassVar[Severity] = "medium"
    undeclared: ClassVar[Severity] = "info"
    fields: ClassVar[tuple[str, ...]] = ("broken", "loss_rose", "zero_gradient")

    def applies(self, subject: Subject) -> None:
        subject.require("judged")
        subject.require_continuous_inputs()
        if self.norm == "l2" and not subject.kind.common_unit:
            raise NotApplicable(
                f"the values of {subject.kind.noun} have no common length; each has its own eps"
            )
        subject.kind.require_movable(subject, self.size(subject))

    def size(self, subject: Subject) -> float:
        if self.eps is not None:
            return self.eps
        eps = subject.meta.input.eps
        if eps is None:
            eps = subject.kind.default_eps(subject)
        if self.norm == "linf":
            return eps
        return l2_eps(subject, eps)

    def gate(self, subject: Subject) -> tuple[Severity, bool]:
        if self.eps is not None:
            return "high", True
        if subject.meta.input.eps is not None:
            return self.declared, True
        return self.undeclared, False

    def remark(self, subject: Subject) -> str:
        return "" if self.gate(subject)[1] else UNDECLARED

    def outcome(self, context: Context, size: float) -> Outcome:
        """Of inputs whose range was only guessed, the attack may leave the guess: it bounds what
        is left from below. What stays broken once it is put back bounds it from above.
        """
        if not context.subject.kind.bounds_are_guessed(context.subject):
            return super().outcome(context, size)
        from audit.producers.budgets import still_broken

        free = super().outcome(context, size)
        points = self.attack(context, free.samples, size, [*self.fields, "x"])["x"]
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

    def change(self, subject: Subject, size: float) -> str:
        return subject.kind.change(subject, size, self.norm)

    def parts(self) -> dict[str, Any]:
        """What the producers are told of the norm."""
        return {} if self.norm == "linf" else {"norm": self.norm}


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

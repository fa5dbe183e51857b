"""What the evasion attacks share: one examination, told in one way. No check itself."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from audit import figures, statistics
from audit.checking import Check, Context, Expectation, Measurement, pack
from audit.checks.robustness.examples import show
from audit.errors import NotApplicable
from audit.meta import ANSWERS, Number
from audit.record import Figure, Guidance, Metric, Severity, Validity
from audit.words import amount, number, out_of_ten, share

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from audit.subject import Subject

TABULAR_EPS = 0.1
TAGS = [
    "MITRE ATLAS AML.T0043", "MITRE ATLAS AML.T0015", "CWE-1039", "NIST AI RMF MEASURE 2.7",
    "EU AI Act Article 15",
]  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What an attack of one size left of some samples.

    Attributes:
        samples: [n] indices. clean: [n] good before. broken: [n] the attack won.
        found: the attack's evidence on them.
        robust: the share that stayed good.
    """

    size: float
    samples: NDArray[np.intp]
    clean: NDArray[np.bool_]
    broken: NDArray[np.bool_]
    robust: Metric
    found: dict[str, Tensor]

    def among(self, few: NDArray[np.intp]) -> NDArray[np.bool_]:
        """[few] what stands of some of the samples."""
        return self.standing[np.isin(self.samples, few)]

    @property
    def standing(self) -> NDArray[np.bool_]:
        return self.clean & ~self.broken


class Evasion(Check):
    """An adversary who changes inputs. A subclass says in what way, and how much of it."""

    samples: int = Field(default=200, ge=10, description="at most this many samples are attacked")

    bound: ClassVar[float] = 0.3
    severity: ClassVar[Severity] = "high"
    size_name: ClassVar[str] = "eps"
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
        return [self.size(subject)]

    def validity(self, context: Context, outcome: Outcome) -> list[Validity]:
        """Evidence that the attack was fair: a weak attack proves nothing."""
        return []

    def add(self, context: Context, outcome: Outcome, measurement: Measurement) -> None:
        """What a subclass has to tell beyond the share that stands."""

    @staticmethod
    def measure_of(subject: Subject) -> str:
        """Name of the metric that counts what the attack leaves."""
        return "within_tolerance" if subject.is_regression else "robust_accuracy"

    def outcome(self, context: Context, size: float) -> Outcome:
        chosen = context.samples(self.samples)
        clean = unattacked(context, chosen)
        found = self.attack(context, chosen, size, list(self.fields))
        broken = found["broken"].numpy() & clean
        robust = statistics.proportion(
            self.measure_of(context.subject), ~broken & clean, clusters=context.clusters(chosen),
            slice={self.size_name: size},
        )  # fmt: skip
        return Outcome(size, chosen, clean, broken, robust, found)

    def examine(self, context: Context) -> Measurement:
        subject = context.subject
        size = self.size(subject)
        outcomes = [self.outcome(context, at) for at in self.sizes(subject)]
        main = next(o for o in outcomes if o.size == size)
        chosen, clean = main.samples, main.clean
        clusters = context.clusters(chosen)
        base = statistics.proportion("clean_accuracy", clean, clusters=clusters)
        flips = statistics.proportion(
            "attack_success", main.broken[clean], direction="lower", slice={self.size_name: size},
            clusters=None if clusters is None else clusters[clean],
        )  # fmt: skip
        # What was not attacked has not moved: that is no measurement of a regression.
        known = [] if subject.is_regression else [base]
        change = self.change(subject, size)
        kept = f"right, where {amount(base)} were"
        if subject.is_regression:
            kept = f"no more than {number(subject.meta.tolerance)} further from the truth"
        measurement = Measurement(
            answer=self.answer(subject, main, base, flips),
            metrics=[*known, *(o.robust for o in outcomes), flips],
            figures=self.pictures(context, base, outcomes),
            per_unit=[pack(main.robust.name, main.standing, samples=chosen,
                             slice={self.size_name: size})],
            guidance={
                main.robust.name: Guidance(
                    title=self.finding_title,
                    what_happened=f"{change} leaves {{value}} ({{low}} to {{high}}) of {{n}} answers "
                    f"{kept}; the bound is {{bound}}.",
                    why_it_matters="Somebody who may choose the input, or mere noise in a bad spot, "
                    "can make the model say something else without a person noticing.",
                    what_to_do=self.todo,
                    tags=TAGS,
                )
            },
        )  # fmt: skip
        measurement.validity = self.validity(context, main)
        self.add(context, main, measurement)
        rests = [m.name for m in measurement.metrics if m is not base]
        for piece in measurement.validity:
            piece.metrics = sorted(set(rests))
        doubts = dict.fromkeys(v.doubt for v in measurement.validity if v.passed is False)
        if doubts:
            measurement.answer = (
                f"{' and '.join(doubts).capitalize()}: what follows bounds the model's robustness from "
                f"above and may be far too good. {measurement.answer}"
            )
        if context.examples and main.broken.any():
            show(self, context, main, measurement)
        return measurement

    def answer(self, subject: Subject, main: Outcome, base: Metric, flips: Metric) -> str:
        """The result in a sentence."""
        change, n = self.change(subject, main.size), len(main.samples)
        flipped = float(flips.value or 0.0)
        if subject.is_regression:
            return (
                f"{change} moves {out_of_ten(flipped)} of the answers further from the truth by more "
                f"than {number(subject.meta.tolerance)}; {amount(main.robust)} of {n:,} stay within."
            )
        if flipped == 0:
            return (
                f"{change} flipped no answer that was right: accuracy stays at "
                f"{amount(main.robust)} of {n:,} samples."
            )
        return (
            f"{change} flips {out_of_ten(flipped)} of the answers that were right: accuracy falls "
            f"from {amount(base)} to {amount(main.robust)} of {n:,} samples."
        )

    def pictures(
        self, context: Context, base: Metric, outcomes: list[Outcome]
    ) -> list[Figure]:
        """The accuracy that is left, against the size of the change."""
        what = "share within the tolerance" if context.subject.is_regression else "accuracy"
        measured = [(0.0, base), *((o.size, o.robust) for o in outcomes)]
        rows = [
            {self.size_name: at, "robust accuracy": m.value, "low": m.low, "high": m.high,
             "attack": self.id.split(".")[1].upper()}
            for at, m in sorted(measured, key=lambda pair: pair[0])
        ]  # fmt: skip
        falls = ", ".join(
            f"to {share(float(m.value or 0))} at {self.size_name} {number(at)}"
            for at, m in sorted(measured[1:], key=lambda pair: pair[0])
        )
        return [figures.curve(
            rows, x=self.size_name, y="robust accuracy", series="attack",
            title=f"{what.capitalize()} under attack, against the size of the change",
            bound=self.bound,
            caption=f"{what.capitalize()} falls {falls}, from {share(float(base.value or 0))} without "
            "an attack. The dashed line is the default bound.",
        )]  # fmt: skip

    def expectations(self, subject: Subject) -> list[Expectation]:
        return [Expectation(
            metric=self.measure_of(subject), slice={self.size_name: self.size(subject)},
            op=">=" if self.severity in ("high", "critical") else "not_shown_below",
            bound=self.bound, severity=self.severity,
        )]  # fmt: skip


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
    fields: ClassVar[tuple[str, ...]] = ("broken", "loss_rose", "zero_gradient")

    def applies(self, subject: Subject) -> None:
        subject.require(ANSWERS)
        subject.require_continuous_inputs()
        if subject.kind == "tabular":
            if self.norm == "l2":
                raise NotApplicable("the features of a table have no common length; each has its own eps")
            from audit.methods.attacks.budgets import budget

            if not any(f.attackable for f in subject.features):
                raise NotApplicable("no numeric feature is mutable")
            allowed = budget(subject, self.size(subject))
            movable = allowed.radius > 0
            if allowed.whole is not None:
                movable &= (allowed.radius >= 1) | ~allowed.whole
            if self.size(subject) and not bool(movable.any()):
                raise NotApplicable(
                    f"eps {number(self.size(subject))} is less than one whole step of every mutable "
                    "feature"
                )

    def size(self, subject: Subject) -> float:
        if self.eps is not None:
            return self.eps
        eps = subject.meta.input.eps
        if eps is None and subject.kind == "tabular":
            eps = TABULAR_EPS
        if eps is None:
            assert subject.range is not None
            eps = 8 / 255 * (subject.range[1] - subject.range[0])
        if self.norm == "linf":
            return eps
        from audit.methods.attacks.budgets import l2_eps

        return l2_eps(subject, eps)

    def change(self, subject: Subject, size: float) -> str:
        if subject.kind == "tabular":
            names = [f.name for f in subject.features if f.attackable]
            listed = ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
            return f"Changing {listed} by at most {number(size)} standard deviations each"
        assert subject.range is not None
        assert subject.x is not None
        width = subject.range[1] - subject.range[0]
        noun = "pixel" if subject.kind == "image" else "value"
        if self.norm == "linf":
            return f"Changing each {noun} by at most {share(size / width)} of the range (eps {number(size)})"
        mean = size / width / subject.x[0].numel() ** 0.5
        return (
            f"Changing the {noun}s together by a length of at most {number(size)} (in root mean square "
            f"{share(mean)} of the range)"
        )

    def parts(self) -> dict[str, Any]:
        """What the producers are told of the norm."""
        return {} if self.norm == "linf" else {"norm": self.norm}


def unattacked(context: Context, samples: NDArray[np.intp]) -> NDArray[np.bool_]:
    """[n] was the answer good before? Of a regression every answer is: it has not moved yet."""
    if context.subject.is_regression:
        return np.ones(len(samples), dtype=bool)
    return context.predictions().correct[samples]

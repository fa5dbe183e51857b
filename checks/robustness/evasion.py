"""What the evasion attacks share: budget in words, validity, metrics, figures. No check itself."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import Field

from audit import figures, statistics
from audit.checking import Check, Context, Expectation, Measurement, pack
from audit.errors import NotApplicable
from audit.meta import ANSWERS, Number
from audit.record import Figure, Guidance, Metric, Table, Validity
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


class Evasion(Check):
    """An attack under an Linf budget. A subclass says which and how strong."""

    eps: Annotated[Number, Field(ge=0)] | None = Field(
        default=None,
        description="largest change of an input: in its units; for tables, in standard deviations "
        "of each mutable numeric feature. Default: 8/255 of the range's width; for tables 0.1",
    )
    samples: int = Field(default=500, ge=10, description="at most this many samples are attacked")
    diagnostic_samples: int = Field(default=100, ge=10, description="for the validity evidence")
    queries: int = Field(default=200, ge=10, description="of the black-box comparison")
    free_steps: int = Field(default=60, ge=5, description="of the attack with the budget removed")

    grid: ClassVar[tuple[float, ...]] = (1.0,)
    finding_title: ClassVar[str]

    def applies(self, subject: Subject) -> None:
        subject.require(ANSWERS)
        subject.require_continuous_inputs()
        if subject.kind == "tabular" and not any(f.attackable for f in subject.features):
            raise NotApplicable("no numeric feature is mutable")

    def budget_of(self, subject: Subject) -> float:
        if self.eps is not None:
            return self.eps
        if subject.kind == "tabular":
            return TABULAR_EPS
        assert subject.range is not None
        return 8 / 255 * (subject.range[1] - subject.range[0])

    @staticmethod
    def measure_of(subject: Subject) -> str:
        """Name of the metric that counts what the attack leaves."""
        return "within_tolerance" if subject.is_regression else "robust_accuracy"

    def multiples(self) -> tuple[float, ...]:
        return self.grid

    @abstractmethod
    def attack(
        self, context: Context, samples: NDArray[np.intp], eps: float, fields: list[str]
    ) -> dict[str, Tensor]:
        """Evidence of this attack."""

    def examine(self, context: Context) -> Measurement:
        subject = context.subject
        eps = self.budget_of(subject)
        chosen = context.samples(self.samples)
        clusters = context.clusters(chosen)
        clean = unattacked(context, chosen)
        base = statistics.proportion("clean_accuracy", clean, clusters=clusters)
        # What was not attacked has not moved: that is no measurement of a regression.
        metrics: list[Metric] = [] if subject.is_regression else [base]
        rows = [{"eps": 0.0, "robust accuracy": base.value, "low": base.low, "high": base.high,
                 "attack": self.id.split(".")[1].upper()}]  # fmt: skip
        main: dict[str, Tensor] = {}
        for multiple in self.multiples():
            at = eps * multiple
            found = self.attack(context, chosen, at, ["broken", "loss_rose", "zero_gradient"])
            robust = ~found["broken"].numpy() & clean
            metric = statistics.proportion(
                self.measure_of(subject), robust, clusters=clusters, slice={"eps": at}
            )
            metrics.append(metric)
            rows.append({**rows[0], "eps": at, "robust accuracy": metric.value,
                         "low": metric.low, "high": metric.high})  # fmt: skip
            if multiple == 1.0:
                main = found
                bits = pack(metric.name, robust, samples=chosen, slice={"eps": at})
                headline = metric
        broken = main["broken"].numpy() & clean
        flips = statistics.proportion(
            "attack_success", broken[clean], direction="lower", slice={"eps": eps},
            clusters=None if clusters is None else clusters[clean],
        )  # fmt: skip
        metrics.append(flips)
        words = budget_words(subject, eps)
        kept = f"right, of {amount(base)} without"
        if subject.is_regression:
            kept = f"no more than {number(subject.meta.tolerance)} further from the truth"
        what = "share within the tolerance" if subject.is_regression else "accuracy"
        flipped = float(flips.value or 0.0)
        moved = (
            f"Changing {words} moves {out_of_ten(flipped)} of the answers further from the truth by "
            f"more than {number(subject.meta.tolerance)}; {amount(headline)} of {len(chosen):,} stay "
            "within."
        )
        answer = moved if subject.is_regression else (
            f"Changing {words} flips {out_of_ten(flipped)} of the answers that were right: accuracy "
            f"falls from {amount(base)} to {amount(headline)} of {len(chosen):,} samples."
        )
        if flipped == 0 and not subject.is_regression:
            answer = (
                f"Changing {words} flipped no answer that was right: accuracy stays at "
                f"{amount(headline)} of {len(chosen):,} samples."
            )
        pictures = [
            figures.curve(
                sorted(rows, key=lambda r: float(r["eps"] or 0)), x="eps", y="robust accuracy",
                series="attack", title=f"{what.capitalize()} under attack, against the size of the "
                "change", bound=self.bound,
                caption=f"{what.capitalize()} falls " + ", ".join(
                    f"to {share(float(r['robust accuracy'] or 0))} at eps {number(float(r['eps'] or 0))}"
                    for r in rows[1:]
                ) + f", from {share(float(base.value or 0))} without an attack. The dashed line is "
                "the default bound.",
            )
        ]  # fmt: skip
        tables: list[Table] = []
        if context.examples and broken.any():
            self.show(context, chosen, broken, eps, pictures, tables)
        return Measurement(
            answer=answer,
            metrics=metrics,
            validity=self.validity(context, chosen, clean, eps),
            figures=pictures,
            tables=tables,
            per_sample=[bits],
            guidance={
                self.measure_of(subject): Guidance(
                    title=self.finding_title,
                    what_happened=f"Changing {words} leaves {{value}} of {{n}} answers {kept} "
                    "({low} to {high}); the bound is {bound}.",
                    why_it_matters="Somebody who may choose the input, or mere noise in a bad spot, "
                    "can make the model say something else without a person noticing.",
                    what_to_do="Train with adversarial examples of this size (Madry et al. 2018), "
                    "reject answers with a small margin, or keep untrusted inputs away from it.",
                    tags=TAGS,
                )
            },
        )

    bound: ClassVar[float] = 0.3

    def expectations(self, subject: Subject) -> list[Expectation]:
        at = self.budget_of(subject)
        return [
            Expectation(
                metric=self.measure_of(subject), slice={"eps": at}, op=">=", bound=self.bound,
                severity="high",
            )
        ]  # fmt: skip

    @abstractmethod
    def validity(
        self, context: Context, chosen: NDArray[np.intp], clean: NDArray[np.bool_], eps: float
    ) -> list[Validity]:
        """Evidence that the attack was fair: a weak attack proves nothing."""

    def show(
        self,
        context: Context,
        chosen: NDArray[np.intp],
        broken: NDArray[np.bool_],
        eps: float,
        pictures: list[Figure],
        tables: list[Table],
    ) -> None:
        """A few adversarial examples: pictures, or rows as a readable difference."""
        subject = context.subject
        assert subject.x is not None
        at = np.flatnonzero(broken)[:4]
        picked = chosen[at]
        adversarial = self.attack(context, chosen, eps, ["x"])["x"][at]
        original = subject.x[picked].float()
        import torch

        with torch.no_grad():
            after = subject.logits(adversarial).cpu()
        pairs = zip(context.answers(picked), after, strict=True)
        said = [f"{subject.answer_text(b)} → {subject.answer_text(a)}" for b, a in pairs]
        if subject.kind == "image":
            assert subject.range is not None
            low, high = subject.range
            sheet = []
            for clean_picture, changed in zip(original.numpy(), adversarial.numpy(), strict=True):
                difference = changed - clean_picture
                flat = difference.mean(0) if difference.shape[0] <= 4 else difference.mean(-1)
                sheet.append([
                    figures.grey_or_rgb(clean_picture, low, high), figures.signed_colours(flat),
                    figures.grey_or_rgb(changed, low, high),
                ])  # fmt: skip
            pictures.append(
                figures.tiles(
                    sheet, title="Original, change (amplified), result",
                    caption=f"{len(at)} samples, one a row; the answers went {'; '.join(said)}. The "
                    "middle picture scales the change to full colour: orange is brighter, blue "
                    "darker.",
                )
            )  # fmt: skip
        elif subject.kind == "tabular":
            rows: list[list[str | float | int | bool | None]] = []
            for i in range(len(at)):
                for feature in subject.features:
                    if feature.attackable:
                        column = feature.columns[0]
                        old, new = float(original[i, column]), float(adversarial[i, column])
                        if old != new:
                            rows.append([i + 1, said[i], feature.name, old, new])
            tables.append(Table(
                title="Examples: what was changed in a row",
                columns=["example", "answer", "feature", "before", "after"], rows=rows[:40],
            ))  # fmt: skip


def unattacked(context: Context, samples: NDArray[np.intp]) -> NDArray[np.bool_]:
    """[n] was the answer good before? Of a regression every answer is: it has not moved yet."""
    if context.subject.is_regression:
        return np.ones(len(samples), dtype=bool)
    return context.predictions().correct[samples]


def best_constant(context: Context, samples: NDArray[np.intp]) -> float:
    """Share that the best constant answer gets right, or keeps within the tolerance."""
    subject = context.subject
    assert subject.y is not None
    if subject.is_regression:
        values = np.sort(context.answers(samples)[:, 0].numpy())
        reach = 2 * float(subject.meta.tolerance or 0)
        return float((np.searchsorted(values, values + reach, "right") - np.arange(len(values))).max()
                     / len(values))  # fmt: skip
    return float(np.bincount(subject.y.numpy()[samples]).max() / len(samples))


def budget_words(subject: Subject, eps: float) -> str:
    """'each pixel by at most 3.1 % of its range (eps 0.5)'."""
    if subject.kind == "tabular":
        names = [f.name for f in subject.features if f.attackable]
        listed = ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
        return f"{listed} by at most {number(eps)} standard deviations each"
    assert subject.range is not None
    width = subject.range[1] - subject.range[0]
    noun = "pixel" if subject.kind == "image" else "value"
    return f"each {noun} by at most {share(eps / width)} of the range (eps {number(eps)})"


def white_box_validity(
    context: Context, check: Evasion, samples: NDArray[np.intp], clean: NDArray[np.bool_],
    eps: float, found: dict[str, Tensor],
) -> list[Validity]:  # fmt: skip
    """The four tests of a fair attack (Athalye et al. 2018; Carlini et al. 2019; Tramèr 2020).

    Args:
        samples: [n] indices attacked. clean: [n] answered right before.
        found: the attack's evidence on them.
    """
    from audit.methods.attacks.ascent import free_pgd
    from audit.methods.attacks.search import square

    subject = context.subject
    zero = found["zero_gradient"].numpy()[clean]
    rose = found["loss_rose"].numpy()[clean]
    result = []
    if len(zero) == 0:
        return [Validity(name="samples", passed=None, detail="no sample was answered right")]
    result.append(Validity(
        name="gradients", passed=bool(zero.mean() <= 0.05),
        detail=f"{share(float(zero.mean()))} of {len(zero):,} samples have a gradient of zero "
        "(at most 5 % may)",
    ))  # fmt: skip
    result.append(Validity(
        name="loss rose", passed=bool(rose.mean() >= 0.9),
        detail=f"the loss rose on {share(float(rose.mean()))} of {len(rose):,} samples (90 % must)",
    ))  # fmt: skip
    some = np.isin(samples, context.samples(min(check.diagnostic_samples, len(samples))))
    few = samples[some]
    black = ~context.evidence(square, few, eps=eps, queries=check.queries)["broken"].numpy()
    white = ~found["broken"].numpy()[some]
    lost, gained, p = statistics.mcnemar(white & clean[some], black & clean[some])
    result.append(Validity(
        name="black-box no better", passed=bool(lost <= gained or p >= 0.05),
        detail=f"of {len(few)} samples a search without gradients breaks {lost} that the attack "
        f"does not, and misses {gained} that it does (paired p = {number(p)})",
    ))  # fmt: skip
    free = ~context.evidence(free_pgd, few, steps=check.free_steps)["broken"].numpy()
    constant = best_constant(context, few)
    low, _ = statistics.wilson(float(free.sum()), len(few))
    result.append(Validity(
        name="budget removed", passed=bool(low <= constant),
        detail=f"free to change everything, the attack leaves {share(float(free.mean()))} of "
        f"{len(few)} right; the best constant answer gets {share(float(constant))}",
    ))  # fmt: skip
    if subject.range_is_inferred:
        result.append(Validity(
            name="input range", passed=None,
            detail="the input range was only inferred from the data; give it as "
            "[subject.input] range",
        ))  # fmt: skip
    return result

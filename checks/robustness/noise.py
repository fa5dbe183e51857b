"""How right does the model stay when measurements are a little off?

Normal noise on every numeric value of a table or series, from a twentieth to half of its standard
deviation, kept within the range of the data; categories stay. The loss of accuracy (for values: of
minus the absolute error in standard deviations of the labels), paired with the clean answers, with
Tango's score interval (Student t for values), and how many answers change, with Wilson intervals.
Nobody chose the noise to do harm: an average case beside the worst case of the attacks (Fawzi et al.
2016).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field

from audit import figures, statistics
from audit.checking import Check, Context, Cost, Expectation, Measurement, asked_sizes
from audit.checks.robustness.toll import from_to, quality
from audit.errors import NotApplicable
from audit.meta import Number
from audit.producers.corruptions import noisy
from audit.record import Guidance, Slice
from audit.subject import Subject
from audit.words import amount, number, share, span

JUDGED = 0.1
STRENGTHS = (0.05, 0.1, 0.2, 0.3, 0.5)


class Noise(Check):
    """How right does the model stay when measurements are a little off?"""

    costs_as_declared: ClassVar[bool] = True
    id: ClassVar[str] = "robustness.noise"
    causes: ClassVar[dict[str, str]] = {"*": "robustness.small_changes"}
    title: ClassVar[str] = "How right does the model stay when measurements are a little off?"
    profiles: ClassVar[dict[str, dict[str, Any]]] = {
        "quick": {"samples": 300},
        "deep": {"samples": 20000},
    }

    samples: int = Field(default=1000, ge=20)
    also: list[Annotated[Number, Field(gt=0)]] = Field(
        default=[], description="other strengths that are measured too, in standard deviations"
    )

    def applies(self, subject: Subject) -> None:
        subject.require("judged")
        subject.require_continuous_inputs()
        if not subject.kind.noisy:
            raise NotApplicable(f"the inputs are {subject.kind.noun}; see robustness.corruptions")

    def strengths(self) -> list[float]:
        """What is measured."""
        return sorted({*STRENGTHS, *self.also})

    def asking(self, slices: Sequence[Slice]) -> Check:
        found = asked_sizes(slices, "noise")
        return self.model_copy(update={"also": sorted({*self.also, *found})}) if found else self

    def cost(self, subject: Subject) -> Cost:
        return Cost(forward=len(self.strengths()) * min(self.samples, subject.n))

    def examine(self, context: Context) -> Measurement:
        subject = context.subject
        chosen = context.samples(self.samples)
        clusters, y = context.clusters(chosen), subject.labels[chosen]
        before = context.answers(chosen)
        clean = subject.task.quality_of(subject, before, y).numpy()
        losses, flips, rows = [], [], []
        strengths = self.strengths()
        base, kept = quality(context, chosen, before), []
        for strength in strengths:
            after = context.evidence(noisy, chosen, strength=strength)["logits"]
            losses.append(
                statistics.mean(
                    "loss",
                    clean - subject.task.quality_of(subject, after, y).numpy(),
                    clusters=clusters,
                    slice={"noise": strength},
                    direction="lower",
                    **subject.task.quality_change,
                )
            )
            kept.append(quality(context, chosen, after, {"noise": strength}))
            flips.append(
                statistics.proportion(
                    "answers_changed",
                    subject.task.changed(subject, before, after).numpy(),
                    clusters=clusters,
                    slice={"noise": strength},
                    direction="lower",
                )
            )
            rows.append(
                {
                    "noise": strength,
                    "share": flips[-1].value,
                    "low": flips[-1].low,
                    "high": flips[-1].high,
                    "series": "answers that change",
                }
            )
        at = strengths.index(JUDGED)
        loss, changed = losses[at], flips[at]
        return Measurement(
            answer=f"Noise of a tenth of each value's standard deviation changes {amount(changed)} of "
            f"{len(chosen):,} answers: {from_to(context, base, kept[at])}, a loss of "
            f"{number(loss.value)} ({span(loss.low, loss.high)})"
            f"{' ' * bool(subject.task.quality_unit)}{subject.task.quality_unit}.",
            metrics=[*losses, base, *kept, *flips],
            figures=[
                figures.curve(
                    rows,
                    x="noise",
                    y="share",
                    series="series",
                    title="Answers that change, against noise in standard deviations",
                    caption="Share of answers that change: "
                    + ", ".join(
                        f"{share(float(m.value or 0))} at {number(s)}"
                        for m, s in zip(flips, strengths, strict=True)
                    )
                    + ".",
                )
            ],
            guidance={
                "loss": Guidance(
                    title="Small errors of measurement cost much",
                    what_happened=f"With {{slice}} standard deviations {from_to(context, base, kept[at])}: "
                    "it loses {value} ({low} to {high}); the bound is {bound}.",
                    why_it_matters="Every instrument and every form is a little off.",
                    what_to_do="Train with noise of the size that the instruments have, or average "
                    "repeated measurements.",
                    tags=["NIST AI RMF MEASURE 2.5", "EU AI Act Article 15"],
                )
            },
        )

    def expectations(self, subject: Subject) -> list[Expectation]:
        return [
            Expectation(
                metric="loss",
                slice={"noise": JUDGED},
                op="not_shown_above",
                bound=0.05,
                severity="high",
            )
        ]

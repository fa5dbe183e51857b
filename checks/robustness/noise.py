"""How right does the model stay when measurements are a little off?

Normal noise on every numeric value of a table or series, from a twentieth to half of its standard
deviation, kept within the range of the data; categories stay. The loss of accuracy (for values: of
minus the absolute error in standard deviations of the labels), paired with the clean answers, with
Tango's score interval (Student t for values), and how many answers change, with Wilson intervals.
Nobody chose the noise to do harm: an average case beside the worst case of the attacks (Fawzi et al.
2016).
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from audit import figures, statistics
from audit.checking import Check, Context, Cost, Expectation, Measurement
from audit.checks.robustness.toll import from_to, quality
from audit.errors import NotApplicable
from audit.methods.corruptions import noisy
from audit.record import Figure, Guidance, Metric
from audit.subject import Subject
from audit.words import amount, number, share, span

JUDGED = 0.1
STRENGTHS = (0.05, 0.1, 0.2, 0.3, 0.5)


class Noise(Check):
    """How right does the model stay when measurements are a little off?"""

    id: ClassVar[str] = "robustness.noise"
    title: ClassVar[str] = "How right does the model stay when measurements are a little off?"
    profiles: ClassVar[dict[str, dict[str, Any]]] = {
        "quick": {"samples": 300},
        "deep": {"samples": 20000},
    }

    samples: int = Field(default=1000, ge=20)

    def applies(self, subject: Subject) -> None:
        subject.require("judged")
        subject.require_continuous_inputs()
        if not subject.kind.noisy:
            raise NotApplicable(f"the inputs are {subject.kind.noun}; see robustness.corruptions")

    def cost(self, subject: Subject) -> Cost:
        return Cost(forward=len(STRENGTHS) * min(self.samples, subject.n))

    def examine(self, context: Context) -> Measurement:
        subject = context.subject
        chosen = context.samples(self.samples)
        clusters, y = context.clusters(chosen), subject.labels[chosen]
        before = context.answers(chosen)
        clean = subject.task.merit(subject, before, y).numpy()
        losses, flips, rows = [], [], []
        base, kept = quality(context, chosen, before), []
        for strength in STRENGTHS:
            after = context.evidence(noisy, chosen, strength=strength)["logits"]
            losses.append(
                statistics.mean(
                    "loss",
                    clean - subject.task.merit(subject, after, y).numpy(),
                    clusters=clusters,
                    slice={"noise": strength},
                    direction="lower",
                    **subject.task.merit_change,
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
        at = STRENGTHS.index(JUDGED)
        loss, changed = losses[at], flips[at]
        return Measurement(
            answer=f"Noise of a tenth of each value's standard deviation changes {amount(changed)} of "
            f"{len(chosen):,} answers: {from_to(context, base, kept[at])}, a loss of "
            f"{number(loss.value)} ({span(loss.low, loss.high)})"
            f"{' ' * bool(subject.task.merit_unit)}{subject.task.merit_unit}.",
            metrics=[*losses, base, *kept, *flips],
            figures=drawn(rows, flips),
            guidance=advice(context, base, kept, at),
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


def advice(context: Context, base: Metric, kept: list[Metric], at: int) -> dict[str, Guidance]:
    """What a failed expectation on each metric means, and what to do about it."""
    return {
        "loss": Guidance(
            title="Small errors of measurement cost much",
            what_happened=f"With {{slice}} standard deviations {from_to(context, base, kept[at])}: "
            "it loses {value} ({low} to {high}); the bound is {bound}.",
            why_it_matters="Every instrument and every form is a little off.",
            what_to_do="Train with noise of the size that the instruments have, or average "
            "repeated measurements.",
            tags=["NIST AI RMF MEASURE 2.5", "EU AI Act Article 15"],
        )
    }


def drawn(rows: list[dict[str, Any]], flips: list[Metric]) -> list[Figure]:
    """Answers that change, against the noise."""
    return [
        figures.curve(
            rows,
            x="noise",
            y="share",
            series="series",
            title="Answers that change, against noise in standard deviations",
            caption="Share of answers that change: "
            + ", ".join(
                f"{share(float(m.value or 0))} at {number(s)}"
                for m, s in zip(flips, STRENGTHS, strict=True)
            )
            + ".",
        )
    ]

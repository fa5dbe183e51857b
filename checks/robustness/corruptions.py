"""How right does the model stay on pictures as bad cameras, bad light and bad files make them?

Noise, blur, less contrast, more brightness, JPEG compression, a grey square and rotation, each at five
severities (Hendrycks and Dietterich 2019). Nobody chose these changes to do harm; they come by
themselves. Per kind, the mean loss of accuracy over the severities, paired sample by sample with the
clean answers, with Student t intervals; the mean corruption error over all of them; and accuracy at
each severity with Wilson intervals.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from audit import figures, statistics
from audit.checking import Check, Context, Cost, Expectation, Measurement
from audit.checks.robustness.toll import quality
from audit.errors import NotApplicable
from audit.evidence import Batch
from audit.methods.corruptions import SEVERITIES
from audit.producers.corruptions import corrupted, corrupted_x
from audit.record import Figure, Guidance, Metric, Slice
from audit.subject import Subject
from audit.words import amount, number, span


class Corruptions(Check):
    """How right does the model stay on pictures as bad cameras, bad light and bad files make them?"""

    costs_as_declared: ClassVar[bool] = True
    id: ClassVar[str] = "robustness.corruptions"
    title: ClassVar[str] = (
        "How right does the model stay on pictures as bad cameras, bad light and bad files make them?"
    )
    profiles: ClassVar[dict[str, dict[str, Any]]] = {
        "quick": {"samples": 60},
        "deep": {"samples": 5000},
    }

    samples: int = Field(default=500, ge=20)

    def applies(self, subject: Subject) -> None:
        subject.require("judged")
        subject.require_continuous_inputs()
        if not subject.kind.corruptions(subject):
            raise NotApplicable(f"the inputs are {subject.kind.noun}, not pictures")

    def cost(self, subject: Subject) -> Cost:
        n = min(self.samples, subject.n)
        return Cost(forward=n * len(subject.kind.corruptions(subject)) * len(SEVERITIES))

    def examine(self, context: Context) -> Measurement:
        subject, task = context.subject, context.subject.task
        chosen = context.samples(self.samples)
        clusters, y = context.clusters(chosen), subject.labels[chosen]
        known = context.answers(chosen)
        clean = task.quality_of(subject, known, y).numpy()
        base = quality(context, chosen, known)
        what = base.name.removeprefix("clean_").replace("_", " ")
        losses: list[Metric] = []
        single: list[Metric] = []
        kept: list[NDArray[np.float64]] = []
        rows: list[dict[str, Any]] = []

        def row(severity: int, metric: Metric, kind: str) -> dict[str, Any]:
            ends = {"low": metric.low, "high": metric.high}
            return {"severity": severity, what: metric.value, **ends, "corruption": kind}

        for kind in subject.kind.corruptions(subject):
            qualities = []
            rows.append(row(0, base, kind))
            for severity in SEVERITIES:
                logits = context.evidence(corrupted, chosen, kind=kind, severity=severity)["logits"]
                qualities.append(task.quality_of(subject, logits, y).numpy())
                where: Slice = {"corruption": kind, "severity": severity}
                single.append(quality(context, chosen, logits, where))
                rows.append(row(severity, single[-1], kind))
            kept.append(np.mean(qualities, axis=0))
            losses.append(
                statistics.mean(
                    "loss",
                    clean - kept[-1],
                    clusters=clusters,
                    slice={"corruption": kind},
                    direction="lower",
                    **task.quality_change,
                )
            )
        average = statistics.mean(
            "mean_corruption_error",
            -np.mean(kept, axis=0) + (0 if task.quality_unit else 1),
            clusters=clusters,
            direction="lower",
            **({"unit": task.quality_unit} if task.quality_unit else {"edges": (0, 1)}),
        )
        ordered = sorted(losses, key=lambda m: -float(m.value or 0))
        worst = ordered[0]
        unit = f" {task.quality_unit}" if task.quality_unit else ""
        pictures = [
            figures.curve(
                rows,
                x="severity",
                y=what,
                series="corruption",
                title=f"{what.capitalize()} against the severity of the corruption",
                domain=None if task.quality_unit else (0, 1),
                caption="Mean loss over five severities: "
                + ", ".join(f"{m.slice['corruption']} {number(m.value)}{unit}" for m in ordered)
                + ".",
            )
        ]
        if context.examples:
            pictures.append(self.show(context, chosen))
        fill = subject.kind.range_told(subject)
        of_what = f" Strengths are shares of the range that the data fill, {fill}."
        wrong = f"{amount(average)}" if not unit else f"{number(average.value)}{unit}"
        return Measurement(
            answer=f"Over {len(losses)} kinds of corruption at five severities the mean error is {wrong} "
            f"({base.name.replace('_', ' ')} {number(base.value)}); {worst.slice['corruption']} costs "
            f"most, {number(worst.value)}{unit} ({span(worst.low, worst.high)}); n = {len(chosen):,}."
            + (of_what if subject.kind.bounds_are_guessed(subject) else ""),
            metrics=[average, base, *losses, *single],
            figures=pictures,
            guidance=advice(base, unit),
        )

    def show(self, context: Context, chosen: NDArray[np.intp]) -> Figure:
        """One sample, each kind in a row, at severities 1, 3 and 5."""
        subject = context.subject
        low, high = subject.range or (0.0, 1.0)
        x, y = subject.batch(chosen[:1])
        batch = Batch(subject, x, y, np.array([context.seed], dtype=np.uint64))
        sheet = [
            [
                figures.grey_or_rgb(subject.kind.tile(subject, picture[0].cpu().numpy()), low, high)
                for picture in (x, *(corrupted_x(batch, kind, s) for s in (1, 3, 5)))
            ]
            for kind in subject.kind.corruptions(subject)
        ]
        return figures.tiles(
            sheet,
            title="Original, severities 1, 3 and 5",
            caption=f"One sample; the rows are {', '.join(subject.kind.corruptions(subject))}.",
        )

    def expectations(self, subject: Subject) -> list[Expectation]:
        return [
            Expectation(
                metric="loss",
                slice={"corruption": "*"},
                op="not_shown_above",
                bound=0.3,
                severity="medium",
            )
        ]


def advice(base: Metric, unit: str) -> dict[str, Guidance]:
    """What a failed expectation on each metric means, and what to do about it."""
    return {
        "loss": Guidance(
            title="Ordinary changes of the picture change many answers: {slice}",
            what_happened="With {slice}, averaged over five severities, answers get worse by "
            f"{{value}}{unit} ({{low}} to {{high}}) from a {base.name.replace('_', ' ')} of "
            f"{number(base.value)}; the bound is {{bound}}.",
            why_it_matters="Dirt, dusk and a cheap camera come without anybody's intent, and "
            "nobody tells the model.",
            what_to_do="Train with such changes (augmentation, Hendrycks et al. 2020), check "
            "pictures for quality before the model sees them.",
            tags=["NIST AI RMF MEASURE 2.5", "EU AI Act Article 15"],
        )
    }

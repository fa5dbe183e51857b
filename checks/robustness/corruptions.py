"""How right does the model stay on pictures as bad cameras, bad light and bad files make them?

Noise, blur, less contrast, more brightness, JPEG compression, a grey square and rotation, each at five
severities (Hendrycks and Dietterich 2019). Nobody chose these changes to do harm; they come by
themselves. Per kind, the mean loss of accuracy over the severities, paired sample by sample with the
clean answers, with Student t intervals; the mean corruption error over all of them; and accuracy at
each severity with Wilson intervals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from audit import figures, statistics
from audit.checking import Check, Context, Cost, Expectation, Measurement
from audit.errors import NotApplicable
from audit.record import Figure, Guidance, Metric
from audit.words import amount, number, share, span

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.subject import Subject


class Corruptions(Check):
    """How right does the model stay on pictures as bad cameras, bad light and bad files make them?"""

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
        subject.require("decides")
        subject.require_continuous_inputs()
        if not subject.kind.corruptions(subject):
            raise NotApplicable(f"the inputs are {subject.kind.noun}, not pictures")

    def cost(self, subject: Subject) -> Cost:
        from audit.methods.corruptions import SEVERITIES

        n = min(self.samples, subject.n)
        return Cost(forward=n * len(subject.kind.corruptions(subject)) * len(SEVERITIES))

    def examine(self, context: Context) -> Measurement:
        from audit.methods.corruptions import SEVERITIES, corrupted

        subject = context.subject
        chosen = context.samples(self.samples)
        clusters, y = context.clusters(chosen), subject.labels[chosen]
        clean = subject.task.merit(subject, context.answers(chosen), y).numpy()
        losses: list[Metric] = []
        single: list[Metric] = []
        rows: list[dict[str, Any]] = []
        errors: list[NDArray[np.float64]] = []
        base = statistics.proportion("clean_accuracy", clean, clusters=clusters)
        for kind in subject.kind.corruptions(subject):
            right = []
            rows.append(
                {
                    "severity": 0,
                    "accuracy": base.value,
                    "low": base.low,
                    "high": base.high,
                    "corruption": kind,
                }
            )
            for severity in SEVERITIES:
                logits = context.evidence(corrupted, chosen, kind=kind, severity=severity)["logits"]
                right.append(subject.task.merit(subject, logits, y).numpy())
                metric = statistics.proportion(
                    "accuracy",
                    right[-1],
                    clusters=clusters,
                    slice={"corruption": kind, "severity": severity},
                )
                single.append(metric)
                rows.append(
                    {
                        "severity": severity,
                        "accuracy": metric.value,
                        "low": metric.low,
                        "high": metric.high,
                        "corruption": kind,
                    }
                )
            mean = np.mean(right, axis=0)
            errors.append(1 - mean)
            losses.append(
                statistics.mean(
                    "loss",
                    clean - mean,
                    clusters=clusters,
                    slice={"corruption": kind},
                    direction="lower",
                    edges=(-1, 1),
                )
            )
        mce = statistics.mean(
            "mean_corruption_error",
            np.mean(errors, axis=0),
            clusters=clusters,
            direction="lower",
            edges=(0, 1),
        )
        ordered = sorted(losses, key=lambda m: -float(m.value or 0))
        worst = ordered[0]
        pictures = [
            figures.curve(
                rows,
                x="severity",
                y="accuracy",
                series="corruption",
                title="Accuracy against the severity of the corruption",
                caption="Mean loss over five severities: "
                + ", ".join(
                    f"{m.slice['corruption']} {share(float(m.value or 0))}" for m in ordered
                )
                + ".",
            )
        ]
        if context.examples:
            pictures.append(self.show(context, chosen))
        assert subject.range is not None
        low, high = map(number, subject.range)
        of_what = f" Strengths are shares of the range that the data fill, {low} to {high}."
        return Measurement(
            answer=f"Over {len(losses)} kinds of corruption at five severities the model is wrong on "
            f"{amount(mce)} on average, on clean pictures "
            f"on {share(1 - float(base.value or 0))}; {worst.slice['corruption']} costs most, "
            f"{number(worst.value)} ({span(worst.low, worst.high)}) of accuracy; n = {len(chosen):,}."
            + (of_what if subject.range_is_inferred else ""),
            metrics=[mce, base, *losses, *single],
            figures=pictures,
            guidance={
                "loss": Guidance(
                    title="Ordinary changes of the picture flip many answers: {slice}",
                    what_happened="With {slice}, averaged over five severities, accuracy falls by {value} "
                    f"({{low}} to {{high}}) from {amount(base)}; the bound is {{bound}}.",
                    why_it_matters="Dirt, dusk and a cheap camera come without anybody's intent, and "
                    "nobody tells the model.",
                    what_to_do="Train with such changes (augmentation, Hendrycks et al. 2020), check "
                    "pictures for quality before the model sees them.",
                    tags=["NIST AI RMF MEASURE 2.5", "EU AI Act Article 15"],
                )
            },
        )

    def show(self, context: Context, chosen: NDArray[np.intp]) -> Figure:
        """One sample, each kind in a row, at severities 1, 3 and 5."""
        from audit.evidence import Batch
        from audit.methods.corruptions import corrupted_x

        subject = context.subject
        low, high = subject.range or (0.0, 1.0)
        x, y = subject.batch(chosen[:1])
        batch = Batch(subject, x, y, np.array([context.seed], dtype=np.uint64))
        sheet = [
            [
                figures.grey_or_rgb(picture[0].cpu().numpy(), low, high)
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

"""When the model says it is 90 % sure, is it right 9 times in 10?

The confidence (largest probability) is held against how often the model is right: the mean absolute
gap between them (l1, the "expected calibration error" of Naeini et al. 2015), estimated without the
noise that plain ECE adds up, and whether there is any gap at all, by a test of its own (consistency
resampling, Bröcker and Smith 2007). Errors that cancel there are looked for where they cannot: in the
probability of each class against the rest (Kull et al. 2019), of two classes in that of the second;
within the answers to each class (Gupta and Ramdas 2022), and within people's groups. Beside these:
mean confidence minus accuracy, the temperature that would calibrate the model (Guo et al. 2017,
4.2), Brier score (Brier 1950), and the area under the risk–coverage curve (Geifman and El-Yaniv
2017), which tells whether unsure answers are the wrong ones.

Bounds on each of the three: .05 (medium) and .15 (high). A calibrated model of 500 samples ends below
.15 with its whole interval, and reaches less than .1 beyond .05.

Planted and looked for (`benchmarks/detection`): logits times 2 are found in 6 of 6 seeds, times 1.5
in none; times 0.5 in 6 of 6, times 0.6 in none. No false alarm on 20 clean models (at most 16.1 %).
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from audit import figures, statistics
from audit.checking import Check, Context, Expectation, Measurement
from audit.methods.calibration import aurc, fit_temperature
from audit.record import Figure, Guidance, Metric, Severity, Slice
from audit.subject import Subject
from audit.words import number, share, span


class Reliability(Check):
    """When the model says it is 90 % sure, is it right 9 times in 10?"""

    id: ClassVar[str] = "calibration.reliability"
    causes: ClassVar[dict[str, str]] = {"*": "calibration.reliability"}
    title: ClassVar[str] = "When the model says it is 90 % sure, is it right 9 times in 10?"

    bins: int = Field(default=15, ge=2, le=100, description="at most; each of equal mass")

    def applies(self, subject: Subject) -> None:
        subject.require("classifies")

    def examine(self, context: Context) -> Measurement:
        predictions = context.predictions()
        p, hit = predictions.confidence, predictions.correct.astype(np.float64)
        clusters, n = predictions.clusters, len(predictions.y)
        error = statistics.calibration_error(p, hit, clusters=clusters)
        test = statistics.calibration_test(
            p, hit, clusters=clusters, bins=self.bins, seed=context.seed
        )
        over = statistics.mean(
            "overconfidence", p - hit, clusters=clusters, direction="lower", edges=(-1, 1)
        )
        own = predictions.probabilities[np.arange(n), predictions.y]
        brier = statistics.mean(
            "brier_score",
            (predictions.probabilities**2).sum(1) - 2 * own + 1,
            clusters=clusters,
            direction="lower",
            edges=(0, 2),
        )
        t, cool, hot = fit_temperature(predictions.logits, predictions.y)
        temperature = Metric(
            name="temperature",
            value=t,
            low=cool,
            high=hot,
            n=n,
            edges=(0, None),
            estimator="maximum likelihood; profile-likelihood interval",
            sufficient={"quantiles": {"0.025": cool, "0.975": hot}},
        )

        def risk(index: NDArray[np.intp]) -> NDArray[np.float64]:
            return aurc(p[index], hit[index])

        area = statistics.bootstrap(
            "aurc", risk, n, clusters=clusters, seed=context.seed, draws=1000, direction="lower"
        )
        by_class = of_classes(context)
        apart = within_parts(context)
        metrics = [error, test, over, temperature, brier, area, *by_class, *apart]
        if predictions.unit != "samples" and clusters is not None:
            metrics = context.resting(metrics, clusters)
        rows = binned(p, hit, max(2, min(self.bins, n // 20)))
        worst = max(by_class, key=lambda m: float(m.value or 0))
        answer = (
            f"On average the model is {share(float(p.mean()))} sure and right on "
            f"{share(float(hit.mean()))} of {predictions.counted}. Confidence and accuracy differ by "
            f"{number(error.value)} ({span(error.low, error.high)}) on average; as much or more is seen "
            f"of a perfectly calibrated model with probability {number(test.value)}."
            f"{looked_at_apart(apart)} The probability of class {worst.slice['class']} is off by "
            f"{number(worst.value)} ({span(worst.low, worst.high)})."
        )
        low, high = over.low or 0.0, over.high or 0.0
        lean = "too confident" if low > 0 else "not confident enough"
        settled = low > 0 or high < 0
        guidance = Guidance(
            title="The model's confidence does not match its accuracy",
            what_happened=f"Confidence and accuracy differ by {{value}} ({{low}} to {{high}}) on "
            f"average; the model is {share(float(p.mean()))} sure and right on "
            f"{share(float(hit.mean()))}. The bound is {{bound}}.",
            why_it_matters="Whoever acts only on sure answers, or weighs the answer against a cost, "
            "acts on a number that is wrong.",
            what_to_do=f"Divide the logits by a temperature fitted on held-out data (here {number(t)}"
            "), or use isotonic regression where the curve bends both ways; then audit again.",
            tags=["NIST AI RMF MEASURE 2.5", "EU AI Act Article 15"],
        )
        return Measurement(
            answer=answer,
            conclusions={
                "met": "Its confidence matches its accuracy, within the bounds.",
                "failed": "Its confidence does not match its accuracy"
                + (f": on average it is {lean}." if settled else "."),
            },
            metrics=metrics,
            figures=drawn(rows),
            guidance=advice(guidance, error),
        )

    def expectations(self, subject: Subject) -> list[Expectation]:
        where: list[tuple[str, Slice]] = [
            ("calibration_error", {}),
            ("class_calibration_error", {"class": "*"}),
            ("calibration_error_within", {"by": "*"}),
        ]
        return [
            Expectation(
                metric=metric, slice=slice, op="not_shown_above", bound=bound, severity=severity
            )
            for metric, slice in where
            for bound, severity in BOUNDS
        ]


def advice(guidance: Guidance, error: Metric) -> dict[str, Guidance]:
    """What a failed expectation on each metric means, and what to do about it."""
    return {
        "calibration_error": guidance,
        "class_calibration_error": guidance.model_copy(
            update={
                "title": "The probabilities of one class do not match how often it is true: {slice}",
                "what_happened": "The probability that is given for {slice} and how often it is "
                "true differ by {value} ({low} to {high}) on average; the bound is {bound}.",
            }
        ),
        "calibration_error_within": guidance.model_copy(
            update={
                "title": "The model is miscalibrated within parts of the data: {slice}",
                "what_happened": "Looked at apart {slice}, what is said and what is true differ by "
                "{value} ({low} to {high}) on average, {error} over all; the bound is {bound}.",
                "words": {"error": number(error.value)},
            }
        ),
    }


def binned(p: NDArray[np.float64], hit: NDArray[np.float64], bins: int) -> list[dict[str, Any]]:
    """Accuracy against confidence in bins of equal mass, each with its interval."""
    index, sizes, confidence, accuracy = statistics.calibration_bins(p, hit, bins, equal_mass=True)
    rows = []
    for b in np.flatnonzero(sizes):
        part = hit[index == b]
        lower, upper = statistics.wilson(float(part.sum()), len(part))
        rows.append(
            {
                "confidence": confidence[b],
                "accuracy": accuracy[b],
                "low": lower,
                "high": upper,
                "share": sizes[b],
            }
        )
    return rows


def looked_at_apart(apart: list[Metric]) -> str:
    """The errors within parts of the data, in a sentence that follows on others."""
    told = (
        f"by {number(m.value)} ({span(m.low, m.high)}) within each {m.slice['by']}" for m in apart
    )
    return f" Looked at apart, they differ {'; '.join(told)}." if apart else ""


def drawn(rows: list[dict[str, Any]]) -> list[Figure]:
    """Accuracy against confidence, a point a bin."""
    return [
        figures.reliability(
            rows,
            title="Accuracy against confidence",
            caption=f"{len(rows)} bins of equal mass; points below the dashed diagonal are "
            "answers the model is too sure of. From "
            f"{share(rows[0]['accuracy'])} right at confidence {share(rows[0]['confidence'])} "
            f"to {share(rows[-1]['accuracy'])} at {share(rows[-1]['confidence'])}.",
        )
    ]


BOUNDS: tuple[tuple[float, Severity], ...] = ((0.05, "medium"), (0.15, "high"))


def of_classes(context: Context) -> list[Metric]:
    """The error of each class's probability against the rest; of two classes, of the second."""
    predictions, names = context.predictions(), context.subject.classes
    return [
        statistics.calibration_error(
            predictions.probabilities[:, i],
            predictions.y == i,
            name="class_calibration_error",
            clusters=predictions.clusters,
            slice={"class": names[i]},
        )
        for i in range(len(names))
        if len(names) > 2 or i == 1
    ]


def within_parts(context: Context) -> list[Metric]:
    """The error within the answers to each class, and within people's groups.

    Of two classes it is that of the second's probability, whose two sides do not cancel.
    """
    predictions, subject = context.predictions(), context.subject
    two = len(subject.classes) == 2
    parts = {name: labels[predictions.sample] for name, labels in subject.sensitive.items()}
    if not two:
        parts = {"answer": predictions.predicted.astype(str), **parts}
    p = predictions.probabilities[:, 1] if two else predictions.confidence
    hit = predictions.y == 1 if two else predictions.correct
    return [
        statistics.calibration_error(
            p,
            hit,
            name="calibration_error_within",
            within=labels,
            clusters=predictions.clusters,
            slice={"by": name},
        )
        for name, labels in parts.items()
    ]

"""How close do the model's values come to the truth?

Share of the variance explained (R², with a BCa bootstrap interval), mean absolute error and bias with
Student t intervals, all in the labels' own units, and the gain over the best constant answer: how
much smaller the absolute error is than that of the labels' median (Hyndman and Koehler 2006).
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from audit import figures, statistics
from audit.checking import Check, Context, Expectation, Measurement
from audit.errors import NotApplicable
from audit.record import Core, Figure, Guidance, Metric
from audit.subject import Subject
from audit.words import number, span, value_text

TENTHS = 10


class Regression(Check):
    """How close do the model's values come to the truth?"""

    id: ClassVar[str] = "performance.regression"
    core: ClassVar[Core] = "quality"
    title: ClassVar[str] = "How close do the model's values come to the truth?"

    def applies(self, subject: Subject) -> None:
        subject.require("valued")

    def examine(self, context: Context) -> Measurement:
        subject = context.subject
        answer = context.answers()[:, 0].double().numpy()
        told_at = np.flatnonzero(np.isfinite(answer))
        if len(told_at) < 2:
            raise NotApplicable("nearly all answers are NaN or infinite")
        answer, y = answer[told_at], subject.labels.double().numpy()[told_at]
        clusters = context.clusters(told_at)
        error = answer - y

        def explained(index: NDArray[np.intp]) -> NDArray[np.float64]:
            with np.errstate(invalid="ignore", divide="ignore"):
                return 1 - (error[index] ** 2).mean(1) / y[index].var(1)

        r2 = statistics.bootstrap(
            "r2", explained, len(y), clusters=clusters, seed=context.seed, draws=1000, edges=None
        )
        absolute = statistics.mean(
            "mean_absolute_error", np.abs(error), clusters=clusters, direction="lower"
        )
        bias = statistics.mean("bias", error, clusters=clusters)
        constant = np.abs(y - np.median(y))
        gain = statistics.mean(
            "gain_over_constant",
            (constant - np.abs(error)) / subject.task.spread(subject),
            clusters=clusters,
            direction="higher",
            unit="standard deviations",
        )
        rows = []
        for part in np.array_split(np.argsort(answer), min(TENTHS, max(1, len(y) // 20))):
            true = statistics.mean("true", y[part])
            rows.append(
                {
                    "answer": answer[part].mean(),
                    "true value": true.value,
                    "low": true.low,
                    "high": true.high,
                    "series": "mean of the true values",
                }
            )
            rows.append(
                {
                    **rows[-1],
                    "true value": rows[-1]["answer"],
                    "low": rows[-1]["answer"],
                    "high": rows[-1]["answer"],
                    "series": "as answered",
                }
            )
        measured = [row for row in rows if row["series"] != "as answered"]
        told = (
            f"The model explains {number(r2.value)} ({span(r2.low, r2.high)}) of the variance; it is "
            f"off by {number(absolute.value)} ({span(absolute.low, absolute.high)}) on average, the "
            f"best constant answer by {number(float(constant.mean()))}; n = {len(y):,}."
        )
        return Measurement(
            answer=told,
            metrics=[r2, absolute, bias, gain],
            figures=drawn(rows, measured),
            guidance=advice(absolute),
        )

    def expectations(self, subject: Subject) -> list[Expectation]:
        return [Expectation(metric="gain_over_constant", op=">=", bound=0.0, severity="high")]


def advice(absolute: Metric) -> dict[str, Guidance]:
    """What a failed expectation on each metric means, and what to do about it."""
    return {
        "gain_over_constant": Guidance(
            title="The model is hardly closer to the truth than a constant",
            what_happened=f"It gains {{value}} standard deviations ({{low}} to {{high}}) over the "
            f"best constant answer; it is off by {value_text(absolute)}.",
            why_it_matters="A model that does not beat a constant has learnt nothing that its "
            "users could rely on.",
            what_to_do="Check that units and order of the columns match the training, then the "
            "training itself.",
            tags=["NIST AI RMF MEASURE 2.3", "EU AI Act Article 15"],
        )
    }


def drawn(rows: list[dict[str, Any]], measured: list[dict[str, Any]]) -> list[Figure]:
    """True values against answers."""
    return [
        figures.curve(
            rows,
            x="answer",
            y="true value",
            series="series",
            domain=None,
            title="True values where the model answers low, and where it answers high",
            caption=f"Samples in {len(measured)} parts by the model's answer: the true values "
            f"run from {number(measured[0]['true value'])} where it answers "
            f"{number(measured[0]['answer'])} to {number(measured[-1]['true value'])} where it "
            f"answers {number(measured[-1]['answer'])}.",
        )
    ]

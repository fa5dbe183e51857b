"""How close do the model's values come to the truth?

Share of the variance explained (R², with a BCa bootstrap interval), root mean squared error (bootstrap),
mean absolute error and bias with Student t intervals, all in the labels' own units, and the gain over
the best constant answer: how much smaller the absolute error is than that of the labels' median
(Hyndman and Koehler 2006). Of several outputs each is measured; over all of them the mean of their R²
and their absolute errors in standard deviations of their labels. Of expected counts (`output =
"log_rate"`) what there is to beat is the mean count, by the Poisson deviance (Cameron and Windmeijer
1996): the median of rare counts is 0, which is off by little and tells nothing.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from audit import figures, statistics
from audit.checking import Check, Context, Expectation, Measurement
from audit.errors import NotApplicable
from audit.record import Core, Figure, Guidance, Metric, Slice, Table
from audit.subject import Subject
from audit.words import number, span, value_text

TENTHS = 10
MOST_DRAWN = 40  # outputs in the figure; the table holds all
DRAWS = 1000
TOLERATED = 0.05  # standard deviations that one output may err more than a constant, undecided
SPREADS = "standard deviations"
TAGS = ["NIST AI RMF MEASURE 2.3", "EU AI Act Article 15"]
Floats = NDArray[np.float64]


class Regression(Check):
    """How close do the model's values come to the truth?"""

    id: ClassVar[str] = "performance.regression"
    core: ClassVar[Core] = "quality"
    title: ClassVar[str] = "How close do the model's values come to the truth?"

    def applies(self, subject: Subject) -> None:
        subject.require("valued")
        if subject.task.forecasts:
            raise NotApplicable("the answers are steps ahead, which performance.forecast judges")

    def examine(self, context: Context) -> Measurement:
        subject = context.subject
        answer = context.answers().double().numpy()
        told_at = np.flatnonzero(np.isfinite(answer).all(1))
        if len(told_at) < 2:
            raise NotApplicable("nearly all answers are NaN or infinite")
        y = subject.labels.reshape(answer.shape).double().numpy()[told_at]
        answer, clusters = answer[told_at], context.clusters(told_at)
        counts = subject.meta.output == "log_rate"
        if counts and y.min() < 0:
            raise NotApplicable("some labels are negative, which no count is")
        names = list(subject.task.fields(subject.meta, answer.shape[1]))
        scales = subject.task.scales(subject).numpy()
        if len(names) == 1:
            own = measured(context, answer[:, 0], y[:, 0], float(scales[0]), clusters, {}, counts)
            told = told_of(own, float(np.abs(y[:, 0] - np.median(y[:, 0])).mean()), len(y))
            return Measurement(
                answer=told,
                metrics=own,
                figures=by_tenths(answer[:, 0], y[:, 0]),
                guidance=advice(own, {}),
            )
        each = [
            measured(
                context, answer[:, i], y[:, i], float(scales[i]), clusters, {"output": name}, counts
            )
            for i, name in enumerate(names)
        ]
        whole = together(context, answer, y, scales, clusters)
        weakest = min((own[0] for own in each), key=lambda m: float(m.value or 0.0))
        return Measurement(
            answer=f"Of its {len(names)} outputs the model explains on average {number(whole[0].value)} "
            f"({span(whole[0].low, whole[0].high)}) of the variance, of {weakest.slice['output']} the "
            f"least, {number(weakest.value)} ({span(weakest.low, weakest.high)}); it is off by "
            f"{number(whole[1].value)} standard deviations ({span(whole[1].low, whole[1].high)}) on "
            f"average; n = {len(y):,}.",
            metrics=[*whole, *(m for own in each for m in own)],
            tables=[table_of(names, each)],
            figures=by_output(each),
            guidance=advice(whole, {"output": "*"}),
        )

    def expectations(self, subject: Subject) -> list[Expectation]:
        counts = subject.meta.output == "log_rate"
        beaten = "deviance_explained" if counts else "gain_over_constant"
        if len(subject.task.scales(subject)) == 1:
            return [Expectation(metric=beaten, op=">=", bound=0.0, severity="high")]
        of_each = Expectation(
            metric=beaten,
            slice={"output": "*"},
            op="not_shown_below",
            bound=0.0,
            severity="high",
            tolerates=TOLERATED,
        )
        if counts:  # which have no deviance together
            return [of_each.model_copy(update={"tolerates": 0.0})]
        return [Expectation(metric=beaten, op=">=", bound=0.0, severity="high"), of_each]


def measured(
    context: Context,
    answer: Floats,
    y: Floats,
    scale: float,
    clusters: NDArray[Any] | None,
    where: Slice,
    counts: bool,
) -> list[Metric]:
    """R², mean absolute error, bias, gain over a constant and RMSE of one output, [n] each."""
    error = answer - y
    constant = np.abs(y - np.median(y))
    found = [
        bootstrap(context, "r2", explained(error, y), len(y), clusters, where, (None, 1.0)),
        statistics.mean(
            "mean_absolute_error",
            np.abs(error),
            clusters=clusters,
            direction="lower",
            slice=where,
        ),
        statistics.mean("bias", error, clusters=clusters, slice=where),
        statistics.mean(
            "gain_over_constant",
            (constant - np.abs(error)) / scale,
            clusters=clusters,
            direction="higher",
            unit=SPREADS,
            slice=where,
        ),
        bootstrap(
            context,
            "rmse",
            lambda index: np.sqrt((error[index] ** 2).mean(1)),
            len(y),
            clusters,
            where,
            (0.0, None),
            direction="lower",
        ),
    ]
    if counts:
        found.append(
            bootstrap(
                context,
                "deviance_explained",
                deviance_explained(answer, y),
                len(y),
                clusters,
                where,
                (None, 1.0),
            )
        )
    return found


def together(
    context: Context,
    answer: Floats,
    y: Floats,
    scales: Floats,
    clusters: NDArray[Any] | None,
) -> list[Metric]:
    """Mean of the outputs' R², mean absolute error and gain in standard deviations, of all [n, k]."""
    error = np.abs(answer - y) / scales
    constant = np.abs(y - np.median(y, 0)) / scales
    parts = [explained(answer[:, i] - y[:, i], y[:, i]) for i in range(y.shape[1])]
    return [
        bootstrap(
            context,
            "r2",
            lambda index: np.mean([part(index) for part in parts], axis=0),
            len(y),
            clusters,
            {},
            (None, 1.0),
        ),
        statistics.mean(
            "mean_absolute_error",
            error.mean(1),
            clusters=clusters,
            direction="lower",
            unit=SPREADS,
        ),
        statistics.mean(
            "gain_over_constant",
            (constant - error).mean(1),
            clusters=clusters,
            direction="higher",
            unit=SPREADS,
        ),
    ]


def bootstrap(
    context: Context,
    name: str,
    statistic: Any,
    n: int,
    clusters: NDArray[Any] | None,
    where: Slice,
    edges: tuple[float | None, float | None],
    direction: str = "higher",
) -> Metric:
    """A statistic of n samples, of enough draws for its interval."""
    return statistics.bootstrap(
        name,
        statistic,
        n,
        clusters=clusters,
        seed=context.seed,
        draws=DRAWS,
        direction=direction,
        slice=where,
        edges=edges,
    )


def explained(error: Floats, y: Floats) -> Any:
    """R² as a statistic of samples: indices [b, n] → [b]."""

    def statistic(index: NDArray[np.intp]) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(1 - (error[index] ** 2).mean(1) / y[index].var(1))

    return statistic


def deviance_explained(rate: Floats, y: Floats) -> Any:
    """The share of the mean count's Poisson deviance that is taken away, as a statistic of samples."""
    tiny = np.finfo(float).tiny
    logs = y * np.log(np.maximum(y, tiny))
    own = 2 * (logs - y * np.log(np.maximum(rate, tiny)) - y + rate)

    def statistic(index: NDArray[np.intp]) -> Floats:
        mean = y[index].mean(1)
        none = 2 * (logs[index].mean(1) - mean * np.log(np.maximum(mean, tiny)))
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(1 - own[index].mean(1) / none)

    return statistic


def told_of(found: list[Metric], constant: float, n: int) -> str:
    """One output in a sentence."""
    r2, absolute = found[:2]
    counts = "".join(
        f" It takes away {number(m.value)} ({span(m.low, m.high)}) of the mean count's deviance."
        for m in found
        if m.name == "deviance_explained"
    )
    return (
        f"The model explains {number(r2.value)} ({span(r2.low, r2.high)}) of the variance; it is "
        f"off by {number(absolute.value)} ({span(absolute.low, absolute.high)}) on average, the "
        f"best constant answer by {number(constant)}; n = {n:,}.{counts}"
    )


def table_of(names: list[str], each: list[list[Metric]]) -> Table:
    """Every output, in the unit of its labels."""
    return Table(
        title="By output, in the unit of its labels",
        columns=["output", "R²", "RMSE", "mean absolute error", "bias"],
        rows=[
            [name, *({m.name: m.value for m in own}[key] for key in COLUMNS)]
            for name, own in zip(names, each, strict=True)
        ],
    )


COLUMNS = ("r2", "rmse", "mean_absolute_error", "bias")


def advice(whole: list[Metric], where: Slice) -> dict[str, Guidance]:
    """What a failed expectation on each metric means, and what to do about it."""
    absolute = next(m for m in whole if m.name == "mean_absolute_error")
    of = " ({slice})" if where else ""
    said = "" if where else f"; it is off by {value_text(absolute)}"
    return {
        name: Guidance(
            title=f"The model is hardly closer to the truth than a constant{of}",
            what_happened=f"{what}{said}.",
            why_it_matters="A model that does not beat a constant has learnt nothing that its "
            "users could rely on.",
            what_to_do="Check that units and order of the columns match the training, those of the "
            "outputs too, then the training itself.",
            tags=TAGS,
        )
        for name, what in (
            (
                "gain_over_constant",
                "It gains {value} standard deviations ({low} to {high}) over the best constant answer",
            ),
            (
                "deviance_explained",
                "It takes away {value} ({low} to {high}) of the deviance that answering the mean count "
                "leaves",
            ),
        )
    }


def by_output(each: list[list[Metric]]) -> list[Figure]:
    """R² of each output, the lowest first."""
    shown = sorted((own[0] for own in each if own[0].low is not None), key=lambda m: m.value or 0)
    if not shown:
        return []
    of = f" The lowest {MOST_DRAWN} of {len(shown):,} outputs." * (len(shown) > MOST_DRAWN)
    rows = [
        {"label": str(m.slice["output"]), "value": m.value, "low": m.low, "high": m.high}
        for m in shown[:MOST_DRAWN]
    ]
    return [
        figures.intervals(
            rows,
            value="share of the variance explained (R²)",
            domain=None,
            title="How much of each output is explained",
            caption="R² with 95 % intervals: "
            + ", ".join(f"{m.slice['output']} {number(m.value)}" for m in shown[:5])
            + f".{of}",
        )
    ]


def by_tenths(answer: Floats, y: Floats) -> list[Figure]:
    """True values against answers."""
    rows: list[dict[str, Any]] = []
    for part in np.array_split(np.argsort(answer), min(TENTHS, max(1, len(y) // 20))):
        true = statistics.mean("true", y[part])
        said = float(answer[part].mean())
        ends = {"low": true.low, "high": true.high}
        rows.append(
            {"answer": said, "true value": true.value, **ends, "series": "mean of the true values"}
        )
        ends = {"low": said, "high": said}
        rows.append({"answer": said, "true value": said, **ends, "series": "as answered"})
    seen = [row for row in rows if row["series"] != "as answered"]
    return [
        figures.curve(
            rows,
            x="answer",
            y="true value",
            series="series",
            domain=None,
            title="True values where the model answers low, and where it answers high",
            caption=f"Samples in {len(seen)} parts by the model's answer: the true values "
            f"run from {number(seen[0]['true value'])} where it answers "
            f"{number(seen[0]['answer'])} to {number(seen[-1]['true value'])} where it "
            f"answers {number(seen[-1]['answer'])}.",
        )
    ]

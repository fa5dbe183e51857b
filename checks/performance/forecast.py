"""How close does the forecast come, and is it better than none?

The mean absolute scaled error, MASE (Hyndman and Koehler 2006): the forecast's absolute error, over that of
repeating the last value one step ahead (or the value a season before, where a season is given) within the
inputs. Held against forecasts without a model over the same steps: the last value again, the last season
again, and the best constant; one that does not beat each of them has learnt nothing of the series. For
every step: MASE, root mean squared error and bias, so that it shows how the error grows. Intervals are
over series; overlapping windows of one series count together, in blocks of two horizons. (Other checks
take each window for a sample, unless `group` says which belong together.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit import figures, statistics
from audit.checking import Check, Context, Expectation, Measurement
from audit.errors import NotApplicable
from audit.methods.forecasting import last_value, overlapping, same_season, season_error
from audit.record import Core, Figure, Guidance, Metric, Slice, Table
from audit.subject import Subject
from audit.words import number, span

LEAST = 0.01  # by which each forecast without a model must be beaten: to repeat it is no gain
MOST_STEPS = 48  # that are told one by one
DRAWS = 1000
LAST, SEASON, CONSTANT = "last value", "same season", "best constant"
NO_CHANNEL = "no channel of the input goes on in the labels ([subject] target_channel)"
TAGS = ["NIST AI RMF MEASURE 2.3", "EU AI Act Article 15"]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Errors:
    """How far off forecasts are, [n, steps, channels] each, in the unit of the labels.

    Attributes:
        model: with their sign. without: of each forecast without a model, absolute.
        unit: [channels] what they are counted in; scaled: is it the error one season ahead?
        blocks: of windows that overlap; 0: none do.
    """

    model: Floats
    without: dict[str, Floats]
    unit: Floats
    scaled: bool
    clusters: NDArray[Any] | None
    blocks: int = 0

    @property
    def relative(self) -> Floats:
        """Absolute, in that unit."""
        return np.abs(self.model) / self.unit

    @property
    def named(self) -> str:
        return "errors one step ahead" if self.scaled else "standard deviations"


class Forecast(Check):
    """How close does the forecast come, and is it better than none?"""

    id: ClassVar[str] = "performance.forecast"
    core: ClassVar[Core] = "quality"
    title: ClassVar[str] = "How close does the forecast come, and is it better than none?"

    def applies(self, subject: Subject) -> None:
        subject.require("forecasts")

    def examine(self, context: Context) -> Measurement:
        subject = context.subject
        errors = errors_of(context)
        n, steps, channels = errors.model.shape
        whole = of_errors("mase" if errors.scaled else "mean_absolute_error", errors, {})
        gains = [gain(name, errors) for name in errors.without]
        names = list(subject.task.fields(subject.meta, steps * channels))
        by_channel = [
            of_errors(whole.name, part(errors, channel=i), {"channel": name})
            for i, name in enumerate(names)
            if channels > 1
        ]
        told = np.unique(np.linspace(0, steps - 1, min(steps, MOST_STEPS)).round().astype(int))
        by_step = [step_of(context, errors, int(step)) for step in told]
        first, last = by_step[0][0], by_step[-1][0]
        weakest = min(gains, key=lambda m: float(m.value or 0.0))
        mean = np.abs(errors.model).mean()
        own = f"off by {number(float(mean))} on average, " if channels == 1 else ""
        grows = (
            f" The error goes from {number(first.value)} at step 1 to {number(last.value)} at step "
            f"{steps}."
        )
        in_blocks = f" windows that overlap, in {errors.blocks} blocks" if errors.blocks else ""
        undefined = "" if errors.scaled else f" MASE is undefined: {NO_CHANNEL}."
        return Measurement(
            answer=f"Over {steps} step{'s' * (steps > 1)} the forecast is {own}"
            f"{number(whole.value)} {errors.named} ({span(whole.low, whole.high)}); "
            f"against the {weakest.slice['against']}, the hardest to beat of {len(gains)} forecasts "
            f"without a model, it gains {number(weakest.value)} ({span(weakest.low, weakest.high)}); "
            f"n = {n:,}{in_blocks}."
            f"{grows * (steps > 1)}{undefined}",
            metrics=[whole, *gains, *by_channel, *(m for own in by_step for m in own)],
            tables=[table_of(told, by_step, steps)],
            figures=drawn(errors, told),
            guidance=advice(errors.named),
        )

    def expectations(self, subject: Subject) -> list[Expectation]:
        return [
            Expectation(
                metric="gain_over",
                slice={"against": "*"},
                op=">=",
                bound=LEAST,
                severity="high",
                tolerates=LEAST,
            )
        ]


def errors_of(context: Context) -> Errors:
    """How far off the model and the forecasts without one are, where the model answers with numbers."""
    subject = context.subject
    answers, meta = context.answers().double(), subject.meta
    horizon, shape = int(meta.horizon or 1), (len(answers), int(meta.horizon or 1), -1)
    told = torch.isfinite(answers).all(1)
    if int(told.sum()) < 2:
        raise NotApplicable("nearly all answers are NaN or infinite")
    y = subject.labels.reshape(shape)[told].double()
    model = (answers.reshape(shape)[told] - y).numpy()
    without = {CONSTANT: (y.flatten(0, 1).median(0).values - y).abs().numpy()}
    at = meta.target_channel if isinstance(meta.target_channel, list) else []
    channels = y.shape[2]
    unit = subject.task.scales(subject)[:channels].double().numpy()
    series = subject.kind.over_time(subject.inputs)
    scaled = bool(at) and series is not None
    if scaled and series is not None:
        pads, lengths = subject.padding(subject.inputs), None
        if pads is not None:
            over = subject.kind.over_time(pads)
            assert over is not None
            lengths = (~over[:, :, 0]).sum(1)
        known = series[:, :, at].double()
        season = meta.season if meta.season and meta.season < known.shape[1] else 1
        scale = season_error(known, season, lengths).numpy()
        scaled = bool((scale > 0).all())
        unit = scale if scaled else unit
        own = known[told], None if lengths is None else lengths[told]
        naive = {LAST: last_value(own[0], horizon, own[1])}
        if season > 1:
            naive[SEASON] = same_season(own[0], horizon, season, own[1])
        without = {name: (f - y).abs().numpy() for name, f in naive.items()} | without
    return Errors(model, without, unit, scaled, *blocks_of(context, told))


def blocks_of(context: Context, told: Tensor) -> tuple[NDArray[Any] | None, int]:
    """Clusters of the samples that are told [n]: as they are given, else of windows that overlap.

    Returns:
        (their labels, how many blocks of windows they are)
    """
    subject = context.subject
    clusters = context.clusters(np.flatnonzero(told.numpy()))
    series = subject.kind.over_time(subject.inputs)
    if clusters is not None or series is None:
        return clusters, 0
    blocks = overlapping(series, int(subject.meta.horizon or 1))
    if blocks is None:
        return None, 0
    found = blocks[told].numpy()
    return found, len(np.unique(found))


def part(errors: Errors, *, step: int | None = None, channel: int | None = None) -> Errors:
    """Those of one step, or of one channel."""
    steps = slice(None) if step is None else slice(step, step + 1)
    channels = slice(None) if channel is None else slice(channel, channel + 1)
    return Errors(
        errors.model[:, steps, channels],
        {name: error[:, steps, channels] for name, error in errors.without.items()},
        errors.unit[channels],
        errors.scaled,
        errors.clusters,
    )


def of_errors(name: str, errors: Errors, where: Slice) -> Metric:
    """The mean absolute error, scaled."""
    return statistics.mean(
        name,
        errors.relative.mean((1, 2)),
        clusters=errors.clusters,
        direction="lower",
        unit="" if errors.scaled else "standard deviations",
        slice=where,
        edges=(0.0, None),
    )


def gain(name: str, errors: Errors) -> Metric:
    """How much less it is off than a forecast without a model, in the same unit."""
    return statistics.mean(
        "gain_over",
        (errors.without[name] / errors.unit - errors.relative).mean((1, 2)),
        clusters=errors.clusters,
        direction="higher",
        unit=errors.named,
        slice={"against": name},
    )


def step_of(context: Context, errors: Errors, step: int) -> list[Metric]:
    """Of one step: its MASE, RMSE and bias; of several channels in their units, else in the labels'."""
    own, where = part(errors, step=step), {"step": step + 1}
    several = own.model.shape[2] > 1
    signed = (own.model / own.unit if several else own.model)[:, 0]
    unit = own.named if several else ""
    return [
        of_errors("mase" if own.scaled else "mean_absolute_error", own, {**where}),
        statistics.bootstrap(
            "rmse",
            lambda index: np.sqrt((signed[index] ** 2).mean((1, 2))),
            len(signed),
            clusters=own.clusters,
            seed=context.seed,
            draws=DRAWS,
            direction="lower",
            unit=unit,
            slice={**where},
            edges=(0.0, None),
        ),
        statistics.mean("bias", signed.mean(1), clusters=own.clusters, unit=unit, slice={**where}),
    ]


def table_of(told: NDArray[Any], by_step: list[list[Metric]], steps: int) -> Table:
    """What each step that is told came to."""
    few = f" ({len(told)} of {steps:,}, evenly spread)" * (len(told) < steps)
    return Table(
        title=f"By step{few}",
        columns=["step", "n", *(m.name for m in by_step[0])],
        rows=[
            [int(step) + 1, own[0].n, *(m.value for m in own)]
            for step, own in zip(told, by_step, strict=True)
        ],
    )


def drawn(errors: Errors, told: NDArray[Any]) -> list[Figure]:
    """The error at every step, of the model and without one."""
    if len(told) < 2:
        return []
    of = {"the model": errors.relative}
    of |= {name: error / errors.unit for name, error in errors.without.items()}
    y = f"mean absolute error ({errors.named})"
    rows: list[dict[str, Any]] = []
    for name, values in of.items():
        for step in told:
            mean = statistics.mean("m", values[:, step].mean(1), clusters=errors.clusters)
            rows.append(
                {
                    "step": int(step) + 1,
                    y: float(values[:, step].mean()),
                    "low": mean.low,
                    "high": mean.high,
                    "series": name,
                }
            )
    ends = {name: (v[:, told[0]].mean(), v[:, told[-1]].mean()) for name, v in of.items()}
    return [
        figures.curve(
            rows,
            x="step",
            y=y,
            series="series",
            domain=None,
            title="How the error grows with the steps ahead",
            caption=f"Mean absolute error in {errors.named}, from step 1 to step {told[-1] + 1}: "
            + "; ".join(f"{k} from {number(a)} to {number(b)}" for k, (a, b) in ends.items())
            + ".",
        )
    ]


def advice(unit: str) -> dict[str, Guidance]:
    """What it means that a forecast without a model is not beaten."""
    return {
        "gain_over": Guidance(
            title="The forecast is hardly better than none ({slice})",
            what_happened=f"Over what needs no model it gains {{value}} {unit} ({{low}} to {{high}}); "
            "the bound is {bound}.",
            why_it_matters="Who repeats what was seen last is as well served, without a model.",
            what_to_do="Check that the forecast is not late by a step, that inputs and labels are in one "
            "unit, and that the steps stand in the order of the labels; then the training.",
            tags=TAGS,
        )
    }

"""Does the input already hold what is to be forecast?

For every step of the horizon, the place in the input (a step of a channel) that holds the very same value
in most samples, and the share in which it does. Measured series hardly ever repeat a value to the last
digit at a fixed place: where they do, windows were cut too late, or a channel is known only afterwards
(Kapoor and Narayanan 2023, look-ahead bias). Places are sought on at most 500 samples. A value that
stands in more than half of the labels (as none in a series of counts) is no sign, and its samples are
left out and counted.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from audit import statistics
from audit.checking import Check, Context, Expectation, Measurement
from audit.errors import NotApplicable
from audit.record import Guidance, LeftOut
from audit.subject import Subject
from audit.words import amount

SOUGHT = 500
NEAR = 1e-6  # of a channel's spread, within which two numbers are the same
MOST = 1 << 26  # comparisons at once
BOUND = 0.5
FEWEST = 10  # samples that are left


class Foresight(Check):
    """Does the input already hold what is to be forecast?"""

    id: ClassVar[str] = "data.foresight"
    title: ClassVar[str] = "Does the input already hold what is to be forecast?"

    def applies(self, subject: Subject) -> None:
        subject.require("forecasts")
        if subject.kind.over_time(subject.inputs[:1]) is None:
            raise NotApplicable(f"the inputs are {subject.kind.noun}, and no series")

    def examine(self, context: Context) -> Measurement:
        subject = context.subject
        series = subject.kind.over_time(subject.inputs)
        assert series is not None
        flat = series.flatten(1).double()
        labels = subject.labels.reshape(len(flat), -1).double()
        scales = NEAR * subject.task.scales(subject).double()
        usual = [most_usual(column) for column in labels.T]
        found = []
        for step, (y, scale, (value, often)) in enumerate(
            zip(labels.T, scales, usual, strict=True)
        ):
            telling = (y - value).abs() > scale if often > BOUND else torch.ones_like(y).bool()
            if int(telling.sum()) < FEWEST:
                continue
            chosen = context.samples(SOUGHT)
            few = torch.as_tensor(chosen)[telling[chosen]]
            if len(few) == 0:
                continue
            place = likeliest(flat[few], y[few], float(scale))
            there = (flat[telling, place] - y[telling]).abs() <= scale
            found.append((step, place, there.numpy(), np.flatnonzero(telling.numpy())))
        if not found:
            raise NotApplicable("the labels are nearly always the same")
        names = subject.task.outputs(subject.meta, labels.shape[1])
        step, place, there, rows = max(found, key=lambda f: float(f[2].mean()))
        share = statistics.proportion(
            "already_there", there, clusters=context.clusters(rows), direction="lower"
        )
        back = series.shape[1] - place // series.shape[2]
        where = "last" if back == 1 else f"{back}th last"
        channel = f" of channel {place % series.shape[2]}" if series.shape[2] > 1 else ""
        lost = len(flat) - len(rows)
        return Measurement(
            answer=f"What most often stands in the input already is {names[step]}: in {amount(share)} of "
            f"{len(rows):,} samples it is the {where} value{channel}.",
            metrics=[share],
            left_out=[LeftOut(what="samples", how_many=lost, why="their label is the usual value")]
            if lost
            else [],
            guidance={
                "already_there": Guidance(
                    title="The input already holds what is to be forecast",
                    what_happened=f"In {{value}} of {{n}} samples ({{low}} to {{high}}) {names[step]} of the "
                    f"labels is the {where} value{channel} of the input; the bound is {{bound}}.",
                    why_it_matters="In use the future is not there, and the model will be worse than it "
                    "was measured here.",
                    what_to_do="Cut the windows so that the input ends before the first step that is "
                    "forecast, and leave out channels that are known only afterwards. A series that "
                    "repeats itself exactly needs no model.",
                    tags=["NIST AI RMF MEASURE 2.3", "EU AI Act Article 10"],
                )
            },
        )

    def expectations(self, subject: Subject) -> list[Expectation]:
        return [
            Expectation(
                metric="already_there",
                op="not_shown_above",
                bound=BOUND,
                severity="high",
            )
        ]


def most_usual(y: Tensor) -> tuple[float, float]:
    """The value that occurs most often among labels [n], and in what share of them."""
    values, counts = y.unique(return_counts=True)
    at = int(counts.argmax())
    return float(values[at]), float(counts[at]) / len(y)


def likeliest(flat: Tensor, y: Tensor, near: float) -> int:
    """The place in inputs [n, places] that is most often within `near` of labels [n]."""
    hits = torch.zeros(flat.shape[1])
    for at in torch.arange(len(y)).split(max(1, MOST // flat.shape[1])):
        hits += ((flat[at] - y[at, None]).abs() <= near).sum(0)
    return int(hits.argmax())

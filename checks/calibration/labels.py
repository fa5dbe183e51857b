"""When a label is given a probability of 90 %, is it true 9 times in 10?

For each label the mean absolute gap between its probability (the sigmoid of its score) and how often it
is true, as `calibration.reliability` estimates it, against what calibration would show by chance.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from audit import figures, statistics
from audit.checking import Check, Context, Expectation, Measurement
from audit.outputs import answered
from audit.record import Guidance, Severity
from audit.subject import Subject
from audit.words import count, number, share, span

BOUNDS: tuple[tuple[float, Severity], ...] = ((0.05, "medium"), (0.15, "high"))
MOST_SHOWN = 40


class Labels(Check):
    """When a label is given a probability of 90 %, is it true 9 times in 10?"""

    id: ClassVar[str] = "calibration.labels"
    title: ClassVar[str] = "When a label is given a probability of 90 %, is it true 9 times in 10?"
    counts_unanswered: ClassVar[bool] = True

    def applies(self, subject: Subject) -> None:
        subject.require("several_labels")

    def examine(self, context: Context) -> Measurement:
        subject, answers = context.subject, context.answers()
        scored = answered(answers).numpy()
        p = answers.double().sigmoid().numpy()[scored]
        y = subject.labels.numpy()[scored]
        clusters = context.clusters()
        clusters = None if clusters is None else clusters[scored]
        errors = [
            statistics.calibration_error(
                p[:, i], y[:, i] == 1, clusters=clusters, slice={"label": name}
            )
            for i, name in enumerate(subject.classes)
        ]
        worst = max(range(len(errors)), key=lambda i: float(errors[i].value or 0))
        shown = sorted(errors, key=lambda m: -float(m.value or 0))[:MOST_SHOWN]
        mean = [share(float(values[:, worst].mean())) for values in (p, y)]
        return Measurement(
            answer=f"Over {count(len(errors), 'label')} probability and truth differ most for "
            f"{subject.classes[worst]}: by {number(errors[worst].value)} "
            f"({span(errors[worst].low, errors[worst].high)}) on average; it is given {mean[0]} and true "
            f"for {mean[1]} of {len(p):,} samples.",
            metrics=errors,
            figures=[
                figures.intervals(
                    [
                        {
                            "label": str(m.slice["label"]),
                            "value": m.value,
                            "low": m.low,
                            "high": m.high,
                        }
                        for m in shown
                        if m.value is not None
                    ],
                    value="calibration error",
                    title="Calibration error by label",
                    caption="Mean gap between the probability of a label and how often it is true, "
                    f"with 95 % intervals; largest {number(shown[0].value)} for "
                    f"{shown[0].slice['label']}.",
                )
            ]
            if np.isfinite([m.value if m.value is not None else np.nan for m in shown]).any()
            else [],
            guidance={
                "calibration_error": Guidance(
                    title="The probability of a label does not match how often it is true: {slice}",
                    what_happened="Said and true differ by {value} ({low} to {high}) on average for the "
                    "{slice}; the bound is {bound}.",
                    why_it_matters="Whoever weighs a label against a cost acts on a number that is wrong.",
                    what_to_do="Fit a temperature or isotonic regression for that label on held-out "
                    "data; then audit again.",
                    tags=["NIST AI RMF MEASURE 2.5", "EU AI Act Article 15"],
                )
            },
        )

    def expectations(self, subject: Subject) -> list[Expectation]:
        return [
            Expectation(
                metric="calibration_error",
                slice={"label": "*"},
                op="not_shown_above",
                bound=bound,
                severity=severity,
            )
            for bound, severity in BOUNDS
        ]

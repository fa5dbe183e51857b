"""Does the score tell anomalies from what is normal?

Area under the ROC curve with DeLong's interval (DeLong et al. 1988): the chance that an anomaly
scores higher than a normal sample. At the threshold that the subject has, the share of anomalies
found and of normal samples called anomalies; and the share found at 5 % false alarms, which needs no
threshold (Emmott et al. 2013 on judging detectors).
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from audit import figures, statistics
from audit.checking import Check, Context, Expectation, Measurement
from audit.errors import NotApplicable
from audit.record import Core, Figure, Guidance, Metric
from audit.subject import Subject
from audit.words import amount, number, share, span

FALSE_ALARMS = 0.05


class Anomaly(Check):
    """Does the score tell anomalies from what is normal?"""

    id: ClassVar[str] = "performance.anomaly"
    core: ClassVar[Core] = "quality"
    title: ClassVar[str] = "Does the score tell anomalies from what is normal?"

    def applies(self, subject: Subject) -> None:
        subject.require("thresholded")
        if subject.y is not None and len(set(subject.labels.tolist())) < 2:
            raise NotApplicable("the labels hold one kind only; normal (0) and anomaly (1) are due")

    def examine(self, context: Context) -> Measurement:
        subject, predictions = context.subject, context.predictions()
        score, odd = predictions.logits[:, 1], predictions.y == 1
        clusters = context.clusters()
        area = statistics.auroc(
            "auroc",
            score[odd],
            score[~odd],
            clusters=None if clusters is None else (clusters[odd], clusters[~odd]),
        )
        found = statistics.proportion(
            "detection_rate",
            predictions.predicted[odd] == 1,
            clusters=None if clusters is None else clusters[odd],
        )
        alarms = statistics.proportion(
            "false_alarm_rate",
            predictions.predicted[~odd] == 1,
            direction="lower",
            clusters=None if clusters is None else clusters[~odd],
        )
        cut = np.quantile(score[~odd], 1 - FALSE_ALARMS)
        at_cut = statistics.proportion(
            "detection_rate_at", score[odd] > cut, slice={"false_alarm_rate": FALSE_ALARMS}
        )
        rows: list[dict[str, Any]] = []
        for alarm in (0.001, 0.003, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5):
            point = statistics.proportion("d", score[odd] > np.quantile(score[~odd], 1 - alarm))
            rows.append(
                {
                    "false alarm rate": alarm,
                    "found": point.value,
                    "low": point.low,
                    "high": point.high,
                    "series": "share found",
                }
            )
        answer = (
            f"An anomaly scores higher than a normal sample in {share(float(area.value or 0))} "
            f"of all pairs. At the threshold {number(subject.meta.threshold)} {amount(found)} of "
            f"{found.n:,} anomalies are found, and {amount(alarms)} of {alarms.n:,} normal samples "
            "are called anomalies."
        )
        tags = ["NIST AI RMF MEASURE 2.3", "EU AI Act Article 15"]
        return Measurement(
            answer=answer,
            metrics=[area, found, alarms, at_cut],
            figures=drawn(rows),
            guidance=advice(area, tags),
        )

    def expectations(self, subject: Subject) -> list[Expectation]:
        return [
            Expectation(metric="auroc", op=">=", bound=0.5, severity="high"),
            Expectation(
                metric="false_alarm_rate", op="not_shown_above", bound=0.1, severity="medium"
            ),
        ]


def advice(area: Metric, tags: list[str]) -> dict[str, Guidance]:
    """What a failed expectation on each metric means, and what to do about it."""
    return {
        "auroc": Guidance(
            title="The score hardly tells anomalies from normal samples",
            what_happened=f"The area under the ROC curve is {number(area.value)} "
            f"({span(area.low, area.high)}); 0.5 is chance.",
            why_it_matters="Whoever waits for its alarms waits for dice.",
            what_to_do="Check the scaling of the inputs and the direction of the score "
            "(higher must mean more unusual), then the training.",
            tags=tags,
        ),
        "false_alarm_rate": Guidance(
            title="Too many normal samples raise the alarm",
            what_happened="At its threshold {value} of {n} normal samples ({low} to {high}) "
            "are called anomalies; the bound is {bound}.",
            why_it_matters="People stop looking at alarms that are mostly false.",
            what_to_do="Set [subject] threshold on normal samples of today, or train on them.",
            tags=tags,
        ),
    }


def drawn(rows: list[dict[str, Any]]) -> list[Figure]:
    """Anomalies found against false alarms."""
    return [
        figures.curve(
            rows,
            x="false alarm rate",
            y="found",
            series="series",
            title="Anomalies found, against false alarms",
            caption=f"Share of anomalies found: {share(rows[0]['found'])} at 0.1 % false alarms, "
            f"{share(rows[4]['found'])} at 5 %, {share(rows[-1]['found'])} at 50 %.",
        )
    ]

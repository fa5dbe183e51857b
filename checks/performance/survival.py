"""Does the higher risk see the event sooner?

Harrell's concordance (Harrell et al. 1982): of all pairs of samples of which it is known whose event
came first, the share in which that one has the higher risk; ties count half, and 0.5 is chance. The
interval is that of the infinitesimal jackknife over samples, or over clusters of them. A risk says
nothing of when: whether times or probabilities are right is not measured here. Censoring that hangs
on the risk distorts the concordance (Uno et al. 2011).
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from audit import figures, statistics
from audit.checking import Check, Context, Expectation, Measurement
from audit.record import Core, Guidance
from audit.subject import Subject
from audit.words import number, share, span


class Survival(Check):
    """Does the higher risk see the event sooner?"""

    id: ClassVar[str] = "performance.survival"
    core: ClassVar[Core] = "quality"
    title: ClassVar[str] = "Does the higher risk see the event sooner?"
    counts_unanswered: ClassVar[bool] = True

    def applies(self, subject: Subject) -> None:
        subject.require("ranks_events")

    def examine(self, context: Context) -> Measurement:
        subject, answers, y = context.subject, context.answers(), context.subject.labels
        values = subject.task.quality_of(subject, answers, y).numpy()
        found = statistics.mean(
            "concordance",
            values,
            clusters=context.clusters(),
            direction="higher",
            edges=(None, 1.0),
        )
        events, lost = y[:, 1] == 1, ~np.isfinite(answers.numpy()).all(1)
        unanswered = (
            f" {int(lost.sum()):,} answers are NaN or infinite, and count as ranked wrong."
            if lost.any()
            else ""
        )
        return Measurement(
            answer=f"Of two people of whom it is known whose event came first, that one has the higher risk "
            f"in {share(found.value or 0.0)} of the pairs (concordance {number(found.value)}, "
            f"{span(found.low, found.high)}; chance: 0.5); n = {len(y):,}, with {int(events.sum()):,} "
            f"events.{unanswered}",
            metrics=[found],
            figures=[
                figures.intervals(
                    [
                        {
                            "label": "concordance",
                            "value": found.value,
                            "low": found.low,
                            "high": found.high,
                        }
                    ],
                    value="share of pairs ranked right",
                    bound=0.5,
                    domain=(0, 1),
                    title="Concordance",
                    caption=f"Harrell's concordance {number(found.value)} "
                    f"({span(found.low, found.high)}); the dashed line is chance.",
                )
            ]
            if found.low is not None
            else [],
            guidance={
                "concordance": Guidance(
                    title="The risks hardly tell whose event comes first",
                    what_happened="The higher risk sees the event sooner in {value} of all pairs ({low} to "
                    "{high}; n = {n}); 0.5 is chance.",
                    why_it_matters="Whoever is treated first by such a risk is chosen by lot.",
                    what_to_do="Far below 0.5 the score runs the other way, as an expected time does: "
                    "return minus it. Else check the columns of time and event, then the training.",
                    tags=["NIST AI RMF MEASURE 2.3", "EU AI Act Article 15"],
                )
            },
        )

    def expectations(self, subject: Subject) -> list[Expectation]:
        return [Expectation(metric="concordance", op=">=", bound=0.5, severity="high")]

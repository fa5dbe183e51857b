"""Would the model be better if its inputs were scaled another way?

The same samples are given in the forms that are mixed up in practice: 0–1 for 0–255 and back,
standardised or not, −1 to 1, inverted, colours in the other order. Where another form does clearly
better, the data do not reach the model as it was trained (Breck et al. 2017, on training–serving
skew). Per form, the paired change of accuracy with Tango's score interval (for values: of minus the
absolute error in standard deviations, with Student t's).

Planted and looked for (`benchmarks/detection`): inputs of 0 to 255 for 0 to 1 are found in 10 of 10
seeds, of 0 to 16 in 6, of 0 to 2 in none. No false alarm on 100 clean models (at most 3.7 %).
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from audit import figures, statistics
from audit.checking import Check, Context, Cost, Expectation, Measurement
from audit.errors import NotApplicable
from audit.methods.interventions import rescaled
from audit.record import Figure, Guidance, LeftOut, Metric
from audit.subject import Subject
from audit.words import number, span

WORST = -1e6  # what an answer beyond all bounds counts as
LOST = "the model answers NaN or infinity to the inputs as given"


class InputScale(Check):
    """Would the model be better if its inputs were scaled another way?"""

    id: ClassVar[str] = "behaviour.input_scale"
    title: ClassVar[str] = "Would the model be better if its inputs were scaled another way?"
    profiles: ClassVar[dict[str, dict[str, Any]]] = {
        "quick": {"samples": 200},
        "deep": {"samples": 10000},
    }

    # In another scale it may answer with no number: that is no gain.
    counts_unanswered: ClassVar[bool] = True

    samples: int = Field(default=1000, ge=20)

    def applies(self, subject: Subject) -> None:
        subject.require("judged")
        subject.require_continuous_inputs()

    def cost(self, subject: Subject) -> Cost:
        return Cost(forward=len(subject.kind.rescalings(subject)) * min(self.samples, subject.n))

    def examine(self, context: Context) -> Measurement:
        subject = context.subject
        chosen = context.samples(self.samples)
        clusters, y = context.clusters(chosen), subject.labels[chosen]
        before = subject.task.quality_of(subject, context.answers(chosen), y).numpy()
        told = np.isfinite(before)
        clusters = None if clusters is None else clusters[told]
        metrics, refused = [], []
        for name in subject.kind.rescalings(subject):
            made = context.evidence(rescaled, chosen, name=name)
            if bool(made["refused"].any()):
                refused.append(name)
                continue
            after = subject.task.quality_of(subject, made["logits"], y).numpy()
            change = np.nan_to_num((after - before)[told], nan=-1.0, neginf=WORST)
            change = np.maximum(change, WORST)
            metrics.append(
                statistics.mean(
                    "gain",
                    change,
                    clusters=clusters,
                    slice={"inputs": name},
                    direction="lower",
                    **subject.task.quality_change,
                )
            )
        if not metrics:
            raise NotApplicable(
                f"the model takes its inputs in no other scale ({', '.join(refused)})"
            )
        best = max(metrics, key=lambda m: float(m.value or 0))
        shown = [
            {
                "label": str(m.slice["inputs"]),
                "value": np.clip(m.value or 0, -2, 2),
                "low": np.clip(m.low or 0, -2, 2),
                "high": np.clip(m.high or 0, -2, 2),
            }
            for m in metrics
        ]
        return Measurement(
            answer=f"Of {len(metrics)} other forms of the same inputs, {best.slice['inputs']!s} does "
            f"best: it changes {subject.task.quality} by "
            f"{number(best.value)} ({span(best.low, best.high)}); n = {len(chosen):,}."
            + (f" It does not take them {', '.join(refused)}." if refused else ""),
            metrics=metrics,
            left_out=[]
            if told.all()
            else [LeftOut(what="samples", how_many=int((~told).sum()), why=LOST)],
            figures=self.drawn(shown, subject, metrics),
            guidance={
                "gain": Guidance(
                    title="The inputs do not reach the model in the scale it was trained with",
                    what_happened="With {slice} it gains {value} ({low} to {high}) over the inputs as "
                    "given.",
                    why_it_matters="The model runs on inputs it has never seen the like of; its answers "
                    "are far worse than it could give.",
                    what_to_do="Compare the preprocessing of training and of use; declare it under "
                    "[subject.input.preprocess] so that the audit sees what users see.",
                    tags=["NIST AI RMF MEASURE 2.3", "EU AI Act Article 15"],
                )
            },
        )

    def drawn(
        self, shown: list[dict[str, Any]], subject: Subject, metrics: list[Metric]
    ) -> list[Figure]:
        """The gain from each other form of the inputs."""
        return [
            figures.intervals(
                shown,
                value=f"change of {subject.task.quality}",
                bound=self.bound,
                domain=None,
                title="Gain from giving the inputs in another form",
                caption="Change against the inputs as given: "
                + ", ".join(f"{m.slice['inputs']} {number(m.value)}" for m in metrics)
                + ".",
            )
        ]

    bound: ClassVar[float] = 0.05

    def expectations(self, subject: Subject) -> list[Expectation]:
        return [
            Expectation(
                metric="gain",
                slice={"inputs": "*"},
                op="not_shown_above",
                bound=self.bound,
                severity="high",
            )
        ]

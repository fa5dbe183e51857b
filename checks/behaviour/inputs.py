"""Does every input count, and nothing that a mask hides?

A model that takes several inputs may leave one of them unread, and may read what its mask says is not
there. One input after the other is taken from another sample: an input that moves no score is not looked at.
And where a mask or a length hides something, it is replaced by what the input holds elsewhere: no score may
move. Scores that differ by more than a thousandth of their spread count as moved; shares of samples, with
Wilson intervals.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from audit import statistics
from audit.checking import Check, Context, Cost, Expectation, Measurement
from audit.checks.behaviour.determinism import TOLERANCE, moved, returned, spread_of
from audit.errors import NotApplicable
from audit.methods.interventions import exchanged_input, scrambled_input
from audit.record import Guidance, Metric
from audit.subject import Subject
from audit.words import amount

TAGS = ["NIST AI RMF MEASURE 2.5", "EU AI Act Article 15"]


class Inputs(Check):
    """Does every input count, and nothing that a mask hides?"""

    id: ClassVar[str] = "behaviour.inputs"
    title: ClassVar[str] = "Does every input count, and nothing that a mask hides?"

    samples: int = Field(default=400, ge=20)

    def applies(self, subject: Subject) -> None:
        subject.require("judged", labels=False)
        if not subject.kind.inputs(subject):
            raise NotApplicable("the model takes one input")

    def cost(self, subject: Subject) -> Cost:
        asked = len(subject.kind.inputs(subject)) + len(subject.kind.hiding(subject))
        return Cost(forward=asked * min(self.samples, subject.n))

    def examine(self, context: Context) -> Measurement:
        subject, chosen = context.subject, context.samples(self.samples)
        answers = context.answers(chosen)
        known = returned(subject, answers)
        tolerance = TOLERANCE * spread_of(known)
        metrics, said = list[Metric](), list[str]()
        for metric, names, change in (
            ("moved", subject.kind.inputs(subject), exchanged_input),
            ("moved_by_hidden", subject.kind.hiding(subject), scrambled_input),
        ):
            for name in names:
                logits = context.evidence(change, chosen, name=name)["logits"]
                metrics.append(
                    statistics.proportion(
                        metric,
                        moved(known, returned(subject, logits), tolerance).numpy(),
                        clusters=context.clusters(chosen),
                        slice={"input": name},
                        direction="higher" if metric == "moved" else "lower",
                    )
                )
                what = "another" if metric == "moved" else "something else where it is hidden in"
                said.append(f"{what} {name} moves the scores of {amount(metrics[-1])}")
        text = "; ".join(said)
        return Measurement(
            answer=f"{text[0].upper()}{text[1:]} of {len(chosen):,} samples.",
            metrics=metrics,
            guidance={
                "moved": Guidance(
                    title="An input is hardly looked at",
                    what_happened="With it from another sample, the scores of {value} of {n} samples move "
                    "({low} to {high}); {slice}.",
                    why_it_matters="Who relies on that input being weighed is mistaken, and whoever "
                    "collects it does so for nothing.",
                    what_to_do="Look whether it reaches the layers that answer, and in the scale that they "
                    "were trained on; else leave it out.",
                    tags=TAGS,
                ),
                "moved_by_hidden": Guidance(
                    title="What the mask hides changes the answer",
                    what_happened="With something else where the mask says that nothing is, the scores of "
                    "{value} of {n} samples move ({low} to {high}); {slice}.",
                    why_it_matters="An answer then depends on how far its neighbours in the batch are "
                    "filled up, and on what with: the same sample is answered otherwise in other company.",
                    what_to_do="Pass the mask to every layer that looks along the steps, and take means "
                    "and maxima over the steps that are there.",
                    tags=TAGS,
                ),
            },
        )

    def expectations(self, subject: Subject) -> list[Expectation]:
        return [
            Expectation(
                metric="moved",
                slice={"input": "*"},
                op="not_shown_below",
                bound=0.05,
                severity="medium",
            ),
            Expectation(
                metric="moved_by_hidden",
                slice={"input": "*"},
                op="not_shown_above",
                bound=0.01,
                severity="high",
            ),
        ]

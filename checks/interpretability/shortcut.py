"""Does a small part of the input settle the answer, whatever the rest shows?

One tile of a picture (or block of a series) after the other is taken from a sample of another class;
how often does the model then answer the donor's class? In an honest picture many parts take the
answer over now and then; a watermark, a ruler, a hospital's tag does so far more often than all others
(Lapuschkin et al. 2019; Geirhos et al. 2020). Judged is the dominance: how much more often the
strongest part does it than the fifth (a mark may lie across four). The parts are ranked on one half of
the samples and measured on the other, and the other way round, so that picking the largest does not
make it larger. Paired Student t interval. Only a shortcut that the evaluation data hold too is seen.

Planted and looked for (`benchmarks/detection`): a mark that gives the label away is found from
correlation 0.98 in 10 of 10 training seeds, at 0.95 in 2, at 0.9 and below in none. No false alarm
on 100 clean models (at most 3.7 %).
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from audit import figures, statistics
from audit.checking import Check, Context, Cost, Expectation, Measurement
from audit.errors import NotApplicable
from audit.methods.interventions import swapped_parts
from audit.record import Guidance
from audit.subject import Subject
from audit.words import amount, share

FEWEST = 50  # samples
STRADDLED = 4  # parts that one mark may lie across


class Shortcut(Check):
    """Does a small part of the input settle the answer, whatever the rest shows?"""

    id: ClassVar[str] = "interpretability.shortcut"
    title: ClassVar[str] = (
        "Does a small part of the input settle the answer, whatever the rest shows?"
    )
    profiles: ClassVar[dict[str, dict[str, Any]]] = {
        "quick": {"most": 2500},
        "deep": {"samples": 5000},
    }

    samples: int = Field(default=600, ge=50)
    most: int | None = Field(
        default=None,
        ge=1,
        description="rows asked in all: of fewer samples, but 50, where there are many parts; without "
        "end where not given",
    )

    def count(self, subject: Subject) -> int:
        """Samples that parts are exchanged of."""
        if self.most is None:
            return self.samples
        return min(self.samples, max(FEWEST, self.most // subject.kind.parts(subject).count))

    def applies(self, subject: Subject) -> None:
        subject.require("has_probabilities")
        if not subject.kind.has_neighbours:
            raise NotApplicable(
                f"the inputs are {subject.kind.noun}, without parts that lie side by side"
            )
        if len(set(subject.labels.tolist())) < 2:
            raise NotApplicable("the labels hold one class only: there is no donor of another")

    def cost(self, subject: Subject) -> Cost:
        n = min(self.count(subject), subject.n)
        return Cost(forward=n * subject.kind.parts(subject).count)

    def examine(self, context: Context) -> Measurement:
        chosen = context.samples(self.count(context.subject))
        clusters = context.clusters(chosen)
        found = context.evidence(swapped_parts, chosen)
        donor, before = found["donor"][:, None], context.answers(chosen).argmax(1)[:, None]
        follows = ((found["answered"] == donor) & (before != donor)).numpy()
        parts = context.subject.kind.parts(context.subject)
        metrics = [
            statistics.proportion(
                "takeover",
                follows[:, i],
                clusters=clusters,
                slice={"part": name},
                direction="lower",
            )
            for i, name in enumerate(parts.names)
        ]
        dominance = statistics.mean(
            "dominance", ahead(follows), clusters=clusters, direction="lower", edges=(-1, 1)
        )
        ordered = sorted(metrics, key=lambda m: -float(m.value or 0))
        top, rival = ordered[0], ordered[min(STRADDLED, len(ordered) - 1)]
        shown = [
            {"label": str(m.slice["part"]), "value": m.value, "low": m.low, "high": m.high}
            for m in ordered[:12]
        ]
        return Measurement(
            answer=f"Taken from a sample of another class, the part at {top.slice['part']} takes the "
            f"answer over on {amount(top)} of {len(chosen):,} samples, the fifth strongest of "
            f"{parts.count} on {share(float(rival.value or 0))}.",
            metrics=[dominance, *ordered],
            figures=[
                figures.intervals(
                    shown,
                    value="share of answers taken over",
                    title="Parts that take the answer over",
                    caption="The strongest parts with 95 % intervals: "
                    + ", ".join(f"{r['label']} {share(float(r['value'] or 0))}" for r in shown[:4])
                    + ".",
                )
            ],
            guidance={
                "dominance": Guidance(
                    title="The answer hangs on one small part of the input",
                    what_happened=f"The part at {top.slice['part']}, one of {parts.count}, makes the model "
                    f"answer what another sample is on {amount(top)} of the samples, {{value}} ({{low}} to "
                    "{high}) more than the fifth strongest part; the bound is {bound}.",
                    why_it_matters="A model that reads a mark instead of the matter is right only as long "
                    "as the mark is there, and right for the wrong reason.",
                    what_to_do="Look at that part of the pictures: a tag, a border, a device's trace? "
                    "Remove or randomise it in training, and audit again on data without it.",
                    tags=["NIST AI RMF MEASURE 2.9", "EU AI Act Article 15"],
                )
            },
        )

    def expectations(self, subject: Subject) -> list[Expectation]:
        return [Expectation(metric="dominance", op="not_shown_above", bound=0.1, severity="high")]


def ahead(follows: NDArray[np.bool_]) -> NDArray[np.float64]:
    """[n] how much more often each sample follows the strongest part than the fifth.

    Both ranked on the other half of the samples.

    Args:
        follows: [n, parts].
    """
    result = np.zeros(len(follows))
    for half in (slice(0, None, 2), slice(1, None, 2)):
        other = slice(1, None, 2) if half.start == 0 else slice(0, None, 2)
        order = np.argsort(-follows[other].mean(0), kind="stable")
        rival = order[min(STRADDLED, len(order) - 1)]
        result[half] = follows[half, order[0]] * 1.0 - follows[half, rival]
    return result

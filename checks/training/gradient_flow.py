"""Does the gradient reach every layer, and do the activations stay in bounds?

For every sample, the gradient of its answered score (log-odds, or the value) to the outputs of every
layer with weights. A layer whose gradient is shorter (Euclidean norm) than a thousandth of the last
layer's is starved: training cannot move what lies before it (Glorot and Bengio 2010; Hochreiter
1991). And the largest output of every layer, held against the largest number of half precision,
65,504 (Micikevicius et al. 2018): beyond it, mixed-precision training and half-precision deployment
give Inf. Shares of samples, with Wilson intervals.

Planted and looked for (`benchmarks/detection`): a stack of ten layers of sigmoids is found in 4 of 4
seeds, of eight in 3, of six in none; outputs multiplied by 100,000 in 10 of 10, by 10,000 in none. No
false alarm on 8 clean models of one layer of sigmoids, and on 100 of whose outputs nothing is multiplied.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from audit import figures, statistics
from audit.checking import Check, Context, Cost, Expectation, Measurement
from audit.errors import NotApplicable
from audit.meta import Number
from audit.methods.activations import followed_back, layer_flow, layers
from audit.record import Figure, Guidance, Metric, Table
from audit.subject import Subject
from audit.words import number

HALF_PRECISION = 65504.0


class GradientFlow(Check):
    """Does the gradient reach every layer, and do the activations stay in bounds?"""

    id: ClassVar[str] = "training.gradient_flow"
    title: ClassVar[str] = (
        "Does the gradient reach every layer, and do the activations stay in bounds?"
    )
    profiles: ClassVar[dict[str, dict[str, Any]]] = {
        "quick": {"samples": 400},
        "deep": {"samples": 2000},
    }

    samples: int = Field(default=500, ge=10)
    faintest: Number = Field(
        default=1e-3,
        gt=0,
        lt=1,
        description="of the last layer's gradient, a layer should get more",
    )
    largest: Number = Field(default=HALF_PRECISION, gt=0, description="no output beyond ±this")

    def applies(self, subject: Subject) -> None:
        subject.require("judged", labels=False)
        subject.require_layers()
        if not layers(subject):
            raise NotApplicable("the network has no layer with weights that is known")
        if not followed_back(subject):
            raise NotApplicable(
                "no gradient of the answers reaches the layers (no_grad, detach or numpy inside the model)"
            )

    def cost(self, subject: Subject) -> Cost:
        n = min(self.samples, subject.n)
        return Cost(forward=n, backward=n)

    def examine(self, context: Context) -> Measurement:
        chosen = context.samples(self.samples)
        clusters = context.clusters(chosen)
        found = context.evidence(layer_flow, chosen)
        names = [k.removeprefix("gradient ") for k in found if k.startswith("gradient ")]
        norms = np.stack([found[f"gradient {name}"].double().numpy() for name in names], 1)
        last = np.maximum(norms[:, -1:], np.finfo(np.float64).tiny)
        ratio = norms / last
        peaks = np.stack([found[f"largest {name}"].double().numpy() for name in names], 1)
        metrics: list[Metric] = []
        rows: list[list[Any]] = []
        for i, name in enumerate(names):
            metrics += [
                statistics.proportion(
                    what,
                    bad[:, i],
                    clusters=clusters,
                    slice={"layer": name or "model"},
                    direction="lower",
                )
                for what, bad in (
                    ("starved_share", ratio < self.faintest),
                    ("exploding_share", ~(peaks <= self.largest)),
                )
            ]
            quartiles = np.quantile(ratio[:, i], [0.25, 0.5, 0.75])
            rows.append([name or "model", *map(float, quartiles), float(peaks[:, i].max())])
        faint = min(rows, key=lambda row: row[2])
        loud = max(rows, key=lambda row: row[4])
        answer = (
            f"Of {len(names)} layers, {faint[0]} gets the least gradient: {number(faint[2])} times "
            f"the last layer's (median of {len(chosen):,} samples). The largest output is "
            f"{number(loud[4])}, in {loud[0]}."
        )
        logs = [
            {
                "label": r[0],
                **{
                    k: float(np.log10(max(v, 1e-12)))
                    for k, v in zip(("low", "value", "high"), r[1:4], strict=True)
                },
            }
            for r in rows[:60]
        ]
        tags = ["NIST AI RMF MEASURE 2.5"]
        return Measurement(
            answer=answer,
            metrics=metrics,
            tables=[
                Table(
                    title="Gradient norm against the last layer's (quartiles), and largest output",
                    columns=[
                        "layer",
                        "lower quartile",
                        "median",
                        "upper quartile",
                        "largest output",
                    ],
                    rows=rows,
                )
            ],
            figures=self.drawn(logs, rows),
            guidance=self.advice(tags),
        )

    def advice(self, tags: list[str]) -> dict[str, Guidance]:
        """What a failed expectation on each metric means, and what to do about it."""
        return {
            "starved_share": Guidance(
                title="Hardly any gradient reaches a layer",
                what_happened="At {slice} the gradient is under a "
                f"{number(1 / self.faintest)}th of the last layer's on {{value}} of {{n}} samples "
                "({low} to {high}).",
                why_it_matters="What lies before it could not be trained: the model works with "
                "features that are hardly better than random.",
                what_to_do="Replace saturating activations by ReLU, add residual connections or "
                "normalisation, and initialise for the depth (Glorot and Bengio 2010).",
                tags=tags,
            ),
            "exploding_share": Guidance(
                title="Activations explode",
                what_happened=f"At {{slice}} outputs lie beyond {number(self.largest)} on "
                "{value} of {n} samples ({low} to {high}).",
                why_it_matters="In half precision they become Inf and the answer NaN; small "
                "changes of the input swing the answer wildly.",
                what_to_do="Check the input scale; normalise between layers, clip gradients, "
                "add weight decay, then train again.",
                tags=tags,
            ),
        }

    def drawn(self, logs: list[dict[str, Any]], rows: list[list[Any]]) -> list[Figure]:
        """The gradient of each layer, first layer on top."""
        return [
            figures.intervals(
                logs,
                value="log10 of the gradient norm against the last layer's",
                bound=float(np.log10(self.faintest)),
                domain=None,
                title="How much gradient reaches each layer",
                caption="Median and quartiles over the samples, first layer on top: from "
                f"{number(rows[0][2])} ({rows[0][0]}) to {number(rows[-1][2])} ({rows[-1][0]}) times "
                "the last layer's.",
            )
        ]

    def expectations(self, subject: Subject) -> list[Expectation]:
        where: dict[str, str | float] = {"layer": "*"}
        return [
            Expectation(
                metric="starved_share",
                slice=where,
                op="not_shown_above",
                bound=0.5,
                severity="high",
            ),
            Expectation(
                metric="exploding_share",
                slice=where,
                op="not_shown_above",
                bound=0.01,
                severity="high",
            ),
        ]

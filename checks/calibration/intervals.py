"""Are the values as often within the model's own intervals as it says?

A model that answers with a mean and its spread (`output = "mean_and_variance"`) states an interval for
every level, that of a normal distribution. How often the truth lies within it, at 50, 80, 90 and 95 %, is
held against the level (Gneiting, Balabdaoui and Raftery 2007, section 3.1), with Wilson's interval; and
how large its errors are in its own standard deviations, which should be 1 (root mean square, bootstrap).
Intervals that are too narrow claim too much; wide ones tell little.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from audit import figures, statistics
from audit.checking import Check, Context, Cost, Expectation, Measurement
from audit.errors import NotApplicable
from audit.methods.predictions import stated_spread
from audit.record import Guidance, Metric
from audit.subject import Subject
from audit.words import number, share, span

LEVELS = (0.5, 0.8, 0.9, 0.95)
OFF = 0.05  # that a level may be missed by


class Intervals(Check):
    """Are the values as often within the model's own intervals as it says?"""

    id: ClassVar[str] = "calibration.intervals"
    title: ClassVar[str] = "Are the values as often within the model's own intervals as it says?"
    counts_unanswered: ClassVar[bool] = True

    def applies(self, subject: Subject) -> None:
        subject.require("valued")
        if not subject.network.states_spread:
            raise NotApplicable(
                'the model states no spread of its values ([subject] output = "mean_and_variance")'
            )

    def cost(self, subject: Subject) -> Cost:
        return Cost(forward=subject.n)

    def examine(self, context: Context) -> Measurement:
        subject, answers = context.subject, context.answers().double().numpy()
        stated = context.evidence(stated_spread, context.samples())["deviation"].double().numpy()
        errors = answers - subject.labels.reshape(answers.shape).double().numpy()
        with np.errstate(invalid="ignore", divide="ignore"):
            off = np.abs(errors) / stated
        off[~np.isfinite(off) | ~(stated > 0)] = np.inf  # no interval holds the truth then
        unstated = int(np.isinf(off).any(1).sum())
        coverage = [self.covered(context, off, level) for level in LEVELS]
        usual = np.where(np.isinf(off), np.nan, off)
        size = statistics.bootstrap(
            "error_in_own_deviations",
            lambda index: np.sqrt(np.nanmean(usual[index] ** 2, (1, 2))),
            len(off),
            clusters=context.clusters(),
            seed=context.seed,
            draws=1000,
            direction="none",
            edges=(0.0, None),
        )
        at = coverage[LEVELS.index(0.9)]
        lost = (
            f" {unstated:,} samples have no spread that is a number above 0, and count as outside."
            if unstated
            else ""
        )
        return Measurement(
            answer=f"Intervals that the model says hold 90 % of the truth hold {share(at.value or 0.0)} "
            f"({span(at.low, at.high)}); its errors are {number(size.value)} of its own standard "
            f"deviations ({span(size.low, size.high)}), 1 if it knew how sure it is; n = {len(off):,}.{lost}",
            metrics=[*coverage, size],
            figures=[
                figures.intervals(
                    [
                        {
                            "label": f"said {share(level)}",
                            "value": m.value,
                            "low": m.low,
                            "high": m.high,
                        }
                        for level, m in zip(LEVELS, coverage, strict=True)
                    ],
                    value="share of the truth within",
                    title="How often the truth lies within the model's own intervals",
                    caption="Share of the truth within, with 95 % intervals: "
                    + ", ".join(
                        f"{share(m.value or 0.0)} where {share(level)} is said"
                        for level, m in zip(LEVELS, coverage, strict=True)
                    )
                    + ".",
                )
            ],
            guidance={
                "coverage": Guidance(
                    title="The model is not as sure of its values as it says ({slice})",
                    what_happened="Of intervals at {slice}, {value} hold the truth ({low} to {high}; "
                    "n = {n}); the bound is {bound}.",
                    why_it_matters="Who plans for the worst by these intervals is caught by what lies "
                    "outside, or pays for what never comes.",
                    what_to_do="Scale the spread on held-out data, or take conformal intervals "
                    "(MAPIE); check that a variance is not read as its logarithm or its root.",
                    tags=["NIST AI RMF MEASURE 2.5"],
                )
            },
        )

    def covered(self, context: Context, off: NDArray[np.float64], level: float) -> Metric:
        """How often the truth lies within the interval of a level."""
        within = off <= float(ndtri(0.5 + level / 2))
        clusters = context.clusters()
        if within.shape[1] == 1:
            return statistics.proportion(
                "coverage", within[:, 0], clusters=clusters, slice={"level": level}
            )
        return statistics.mean(
            "coverage", within.mean(1), clusters=clusters, slice={"level": level}, edges=(0, 1)
        )

    def expectations(self, subject: Subject) -> list[Expectation]:
        return [
            found
            for level in (0.5, 0.9)
            for found in (
                Expectation(
                    metric="coverage",
                    slice={"level": level},
                    op="not_shown_below",
                    bound=round(level - OFF, 6),
                    severity="high" if level == 0.9 else "medium",
                    tolerates=OFF,
                ),
                Expectation(
                    metric="coverage",
                    slice={"level": level},
                    op="not_shown_above",
                    bound=round(level + OFF, 6),
                    severity="medium",
                    tolerates=OFF,
                ),
            )
        ]

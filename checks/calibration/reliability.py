"""When the model says it is 90 % sure, is it right 9 times in 10?

The confidence (largest probability) is held against how often the model is right. The calibration
error is debiased: plain ECE (Naeini et al. 2015; Guo et al. 2017) is above zero even for a
calibrated model, so what a calibrated model of this size would show is taken off (consistency
resampling, Bröcker and Smith 2007). Beside it: mean confidence minus accuracy, the temperature that
would calibrate the model (Guo et al. 2017, 4.2), Brier score (Brier 1950), and the area under the
risk–coverage curve (Geifman and El-Yaniv 2017), which tells whether unsure answers are the wrong
ones.

Planted and looked for (`benchmarks/detection`): logits times 2 are found in 10 of 10 seeds, times
1.5 in none; times 0.4 in 10 of 10, times 0.5 in 7, times 0.6 in none. No false alarm on 100 clean
models (at most 3.7 %).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from audit import figures, statistics
from audit.checking import Check, Context, Expectation, Measurement
from audit.record import Guidance, Metric
from audit.words import number, share, span

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from audit.subject import Subject


class Reliability(Check):
    """When the model says it is 90 % sure, is it right 9 times in 10?"""

    id: ClassVar[str] = "calibration.reliability"
    title: ClassVar[str] = "When the model says it is 90 % sure, is it right 9 times in 10?"

    bins: int = Field(default=15, ge=2, le=100, description="at most; each of equal mass")

    def applies(self, subject: Subject) -> None:
        subject.require_classification()

    def examine(self, context: Context) -> Measurement:
        from audit.methods.calibration import aurc, fit_temperature

        predictions = context.predictions()
        p, hit = predictions.confidence, predictions.correct.astype(np.float64)
        clusters, n = context.clusters(), len(predictions.y)
        error = statistics.calibration_error(p, hit, bins=self.bins, seed=context.seed)
        over = statistics.mean(
            "overconfidence", p - hit, clusters=clusters, direction="lower", edges=(-1, 1)
        )
        truth = np.eye(predictions.probabilities.shape[1])[predictions.y]
        brier = statistics.mean(
            "brier_score", ((predictions.probabilities - truth) ** 2).sum(1), clusters=clusters,
            direction="lower", edges=(0, 2),
        )  # fmt: skip
        t, low, high = fit_temperature(predictions.logits, predictions.y)
        temperature = Metric(
            name="temperature", value=t, low=low, high=high, n=n,
            estimator="maximum likelihood; profile-likelihood interval",
            sufficient={"quantiles": {"0.025": low, "0.975": high}},
        )  # fmt: skip

        def risk(index: NDArray[np.intp]) -> NDArray[np.float64]:
            return aurc(p[index], hit[index])

        area = statistics.bootstrap(
            "aurc", risk, n, clusters=clusters, seed=context.seed, draws=1000, direction="lower"
        )
        index, sizes, confidence, accuracy = statistics.calibration_bins(
            p, hit, max(2, min(self.bins, n // 20)), equal_mass=True
        )
        rows = []
        for b in np.flatnonzero(sizes):
            own = hit[index == b]
            lower, upper = statistics.wilson(float(own.sum()), len(own))
            rows.append({"confidence": confidence[b], "accuracy": accuracy[b], "low": lower,
                         "high": upper, "share": sizes[b]})  # fmt: skip
        assert over.value is not None
        lean = "too sure" if over.value > 0 else "not sure enough"
        settled = error.low is not None and error.low > 0
        answer = (
            f"On average the model is {share(float(p.mean()))} sure and right on "
            f"{share(float(hit.mean()))} of {n:,} samples"
            + (f": it is {lean}. " if settled else ". ")
            + f"Confidence and accuracy differ by {number(error.value)} "
            f"({span(error.low, error.high)}) beyond what chance alone would show"
            + ("." if settled else "; that is no more than a calibrated model could show.")
        )
        guidance = Guidance(
            title="The model's confidence cannot be taken at its word",
            what_happened=f"Confidence and accuracy differ by {{value}} ({{low}} to {{high}}) beyond "
            f"chance; on average the model is {share(float(p.mean()))} sure and right on "
            f"{share(float(hit.mean()))}. The bound is {{bound}}.",
            why_it_matters="Whoever acts only on sure answers, or weighs the answer against a cost, "
            "acts on a number that is wrong.",
            what_to_do=f"Divide the logits by a temperature fitted on held-out data (here {number(t)}"
            "), or use isotonic regression where the curve bends both ways; then audit again.",
            tags=["NIST AI RMF MEASURE 2.5", "EU AI Act Article 15"],
        )
        return Measurement(
            answer=answer,
            metrics=[error, over, temperature, brier, area],
            figures=[
                figures.reliability(
                    rows, title="Accuracy against confidence",
                    caption=f"{len(rows)} bins of equal mass; points below the dashed diagonal are "
                    "answers the model is too sure of. From "
                    f"{share(rows[0]['accuracy'])} right at confidence {share(rows[0]['confidence'])} "
                    f"to {share(rows[-1]['accuracy'])} at {share(rows[-1]['confidence'])}.",
                )
            ],
            guidance={"calibration_error": guidance},
        )  # fmt: skip

    def expectations(self, subject: Subject) -> list[Expectation]:
        return [
            Expectation(
                metric="calibration_error", op="not_shown_above", bound=0.05, severity="medium"
            ),
            Expectation(
                metric="calibration_error", op="not_shown_above", bound=0.15, severity="high"
            ),
        ]

"""Would randomised smoothing help: the majority answer under noise, with a proof?

The smoothed classifier asks the model many times, each time with fresh Gaussian noise of standard
deviation sigma, and gives the majority's answer. Within a radius that grows with the majority that answer
cannot change (Cohen et al. 2019, theorem 1; Clopper–Pearson at 0.001 for each sample), whatever the model
is. This is proven of the smoothed classifier, not of the model: the proof stands beside the smoothed
classifier's own accuracy, clean and under an attack that averages over its noise (Salman et al. 2019).
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from audit import figures, statistics
from audit.checking import Check, Context, Cost, Expectation, Measurement, pack
from audit.checks.robustness.evasion import TAGS
from audit.meta import Number
from audit.methods.smoothing import ALPHA, radius
from audit.producers.smoothing import smooth_attack, smoothed
from audit.record import Guidance, Metric, Validity
from audit.subject import Subject
from audit.threats.threat import default_eps, require_small_change
from audit.words import amount, number, share

JUDGING = 100  # draws that an attacked answer is the majority of
MULTIPLES = (0.5, 1.0)  # of eps: where the smoothed classifier is attacked
POINTS = 13


class RandomisedSmoothing(Check):
    """Would randomised smoothing help: the majority answer under noise, with a proof?"""

    id: ClassVar[str] = "robustness.randomised_smoothing"
    title: ClassVar[str] = (
        "Would randomised smoothing help: the majority answer under noise, with a proof?"
    )
    kind = "trial"
    remedies: ClassVar[tuple[str, ...]] = (
        "robustness.worst_case",
        "robustness.worst_case_l2",
        "robustness.pgd",
    )
    least_profile = "standard"
    profiles: ClassVar[dict[str, dict[str, Any]]] = {
        "deep": {"samples": 500, "draws": 10000, "selecting": 100, "steps": 40},
    }

    sigma: Annotated[Number, Field(gt=0)] | None = Field(
        default=None, description="of the noise, in input units. Default: 1.25 times the Linf eps"
    )
    samples: int = Field(default=50, ge=10)
    draws: int = Field(default=500, ge=100, description="that say how sure the majority is")
    selecting: int = Field(default=50, ge=10, description="draws that choose the answer")
    steps: int = Field(default=10, ge=2, description="of the attack on the smoothed classifier")

    def applies(self, subject: Subject) -> None:
        subject.require("has_probabilities")
        require_small_change(subject, None, "l2")

    def cost(self, subject: Subject) -> Cost:
        n = min(self.samples, subject.n)
        attacked = n * self.steps * 8 * len(MULTIPLES)
        judged = n * JUDGING * len(MULTIPLES)
        sampled = n * (self.draws + self.selecting)
        return Cost(forward=sampled + attacked + judged, backward=attacked)

    def noise(self, subject: Subject) -> float:
        return self.sigma or float(f"{1.25 * default_eps(subject):.6g}")

    def examine(self, context: Context) -> Measurement:
        subject = context.subject
        sigma, eps = self.noise(subject), default_eps(subject, "l2")
        chosen = context.samples(self.samples)
        clusters, y = context.clusters(chosen), subject.labels.numpy()[chosen]
        found = context.evidence(
            smoothed, chosen, sigma=sigma, draws=self.draws, selecting=self.selecting
        )
        right = found["answer"].numpy() == y
        proven = radius(found["successes"].numpy(), self.draws, sigma) * right
        ceiling = float(radius([self.draws], self.draws, sigma)[0])
        clean = statistics.proportion("smoothed_accuracy", right, clusters=clusters)
        base = statistics.proportion(
            "clean_accuracy", context.predictions().correct[chosen], clusters=clusters
        )
        metrics = [clean, base]
        rows = [
            point(
                at,
                statistics.proportion("r", right & (proven >= at), clusters=clusters),
                "proven at least",
            )
            for at in np.linspace(0, 1.1 * ceiling, POINTS)
        ]
        contradicted = 0
        for at in (eps * m for m in MULTIPLES):
            broken = self.broken(context, chosen, at)
            certified = right & (proven >= at)
            # A hundred judging draws err now and then where the vote is close.
            contradicted += int((certified & broken).sum())
            robust = statistics.proportion(
                "smoothed_robust_accuracy", right & ~broken, clusters=clusters, slice={"radius": at}
            )
            metrics += [
                robust,
                statistics.proportion(
                    "smoothed_certified_accuracy",
                    certified,
                    clusters=clusters,
                    slice={"radius": at},
                ),
            ]
            rows.append(point(at, robust, "attack leaves at most"))
        last = metrics[-1]
        return Measurement(
            answer=f"With noise of {number(sigma)} the majority answer is right on {amount(clean)} of "
            f"{len(chosen)} samples (the model: {amount(base)}). Within radius {number(eps)} "
            f"{amount(last)} are proven and {amount(metrics[-2])} stand under attack. This is the "
            "smoothed classifier, not the model.",
            metrics=metrics,
            validity=[
                Validity(
                    name="no attack breaks what is proven",
                    passed=contradicted == 0,
                    detail=f"{contradicted} proven answers were broken within their radius; a proof may be "
                    f"wrong with chance {number(ALPHA)}",
                )
            ],
            figures=[
                figures.curve(
                    rows,
                    x="radius",
                    y="accuracy",
                    series="series",
                    title="The smoothed classifier: proven, and left by an attack",
                    caption=f"Proven: {share(float(rows[0]['accuracy'] or 0))} at radius 0, "
                    f"{share(float(last.value or 0))} at {number(eps)}, none beyond {number(ceiling)}, which "
                    f"{self.draws:,} draws cannot exceed.",
                )
            ],
            per_unit=[pack("smoothed_accuracy", right, samples=chosen)],
            guidance={
                "smoothed_accuracy": Guidance(
                    title="Smoothing costs too many right answers",
                    what_happened="Under noise {value} of {n} answers are right ({low} to {high}); the "
                    "bound is {bound}.",
                    why_it_matters="A proof of a classifier that is often wrong protects little.",
                    what_to_do="Train with noise of this size first (Cohen et al. 2019, section 4).",
                    tags=TAGS,
                )
            },
        )

    def broken(self, context: Context, samples: NDArray[np.intp], eps: float) -> NDArray[np.bool_]:
        """[n] does an attack within `eps` change the majority's answer?"""
        found = context.evidence(
            smooth_attack,
            samples,
            ["broken"],
            eps=eps,
            sigma=self.noise(context.subject),
            steps=self.steps,
            draws=8,
            judging=JUDGING,
        )
        return found["broken"].numpy()

    def expectations(self, subject: Subject) -> list[Expectation]:
        return [
            Expectation(
                metric="smoothed_accuracy", op="not_shown_below", bound=0.5, severity="info"
            )
        ]


def point(radius: float, accuracy: Metric, series: str) -> dict[str, Any]:
    """A point of the curve, with its interval."""
    return {
        "radius": radius,
        "accuracy": accuracy.value,
        "low": accuracy.low,
        "high": accuracy.high,
        "series": series,
    }

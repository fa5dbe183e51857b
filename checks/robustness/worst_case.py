"""How right does the model stay under the worst of several attacks, and for whom?

A cascade, cheap first, each next attack only on the answers that still stand (Croce and Hein 2020):
projected gradient descent (Madry et al. 2018), Auto-PGD on the cross-entropy, on the difference of
logits ratio and aimed at the nearest other classes, then a search that needs no gradient. Robust
accuracy is what survives all. The smallest budget that breaks each sample, by bisection with
Auto-PGD, gives accuracy at every budget from one search. Accuracy under attack is told by class and
by people's groups: a model may be robust for the majority only. Fairness of the attack is tested as
for PGD, and the model must answer the same twice. The number is an upper bound all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from audit import figures, statistics
from audit.checking import Context, Cost, Expectation, Measurement
from audit.checks.robustness.evasion import Evasion, budget_words, unattacked, white_box_validity
from audit.checks.robustness.pgd import PGD
from audit.record import Figure, Guidance, Metric, Table, Validity
from audit.words import number, share

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from audit.subject import Subject

REACH = 4.0  # times eps: how far the search for the smallest budget goes
HALVINGS = 7
POINTS = 16
FEWEST = 10
UNSTABLE = 0.01


class WorstCase(Evasion):
    """How right does the model stay under the worst of several attacks, and for whom?"""

    id: ClassVar[str] = "robustness.worst_case"
    title: ClassVar[str] = (
        "How right does the model stay under the worst of several attacks, and for whom?"
    )
    finding_title: ClassVar[str] = "The worst of several attacks flips too many answers"
    profiles: ClassVar[dict[str, dict[str, Any]]] = {
        "quick": {"samples": 100, "steps": 10, "targets": 1, "queries": 100},
        "deep": {"samples": 1000, "steps": 100, "targets": 9, "queries": 2000,
                 "diagnostic_samples": 500},
    }  # fmt: skip

    samples: int = Field(default=200, ge=10, description="at most this many samples are attacked")
    steps: int = Field(default=20, ge=2, description="of each gradient attack")
    targets: int = Field(default=2, ge=0, description="other classes that are aimed at, nearest first")

    def cost(self, subject: Subject) -> Cost:
        n = min(self.samples, subject.n)
        first = PGD()  # on as many samples as its own check attacks
        gradient = min(max(first.samples, n), subject.n) * first.steps
        gradient += n * self.steps * (2 + self.targets + HALVINGS + 1)
        few = min(self.diagnostic_samples, n)
        return Cost(
            forward=gradient + n * self.queries + few * (self.queries + self.free_steps),
            backward=gradient + few * self.free_steps,
        )

    def stages(self, context: Context, eps: float) -> list[tuple[str, Any, dict[str, Any]]]:
        """(name, producer, parameters) of the attacks that follow on PGD."""
        from audit.methods.attacks.apgd import apgd
        from audit.methods.attacks.search import square

        k = 2 if context.subject.is_regression else len(context.subject.classes)
        common = {"eps": eps, "steps": self.steps}
        found: list[tuple[str, Any, dict[str, Any]]] = [
            ("Auto-PGD, cross-entropy", apgd, {**common, "loss": "ce"}),
            ("Auto-PGD, difference of logits", apgd, {**common, "loss": "dlr"}),
        ]
        if k > 2:
            found += [
                (f"Auto-PGD, aimed at other class {rank + 1}", apgd,
                 {**common, "loss": "targeted", "rank": rank})
                for rank in range(min(self.targets, k - 1))
            ]  # fmt: skip
        found.append(("search without gradients", square, {"eps": eps, "queries": self.queries}))
        return found

    def attack(
        self, context: Context, samples: NDArray[np.intp], eps: float, fields: list[str]
    ) -> dict[str, Tensor]:
        """The cascade: as the evidence of an attack, and `stage`: [n] which one broke it, −1 none."""
        import torch

        # The evidence that the check of PGD made or will make: the samples are nested.
        first = PGD(**PGD.profiles.get(context.profile, {}))
        whole = context.samples(max(first.samples, self.samples))
        rows = torch.from_numpy(np.isin(whole, samples))
        wanted = [f for f in fields if f != "stage"]
        made = first.attack(context, whole, eps, list({*wanted, "broken"}))
        found = {name: tensor[rows].clone() for name, tensor in made.items()}
        found["stage"] = torch.where(found["broken"], 0, -1)
        right = torch.from_numpy(unattacked(context, samples))
        for number_, (_, produce, parameters) in enumerate(self.stages(context, eps), 1):
            open_ = (~found["broken"] & right).nonzero()[:, 0]
            if len(open_) == 0:
                break
            needed = ["broken", "x"] if "x" in fields else ["broken"]
            next_ = context.evidence(produce, samples[open_.numpy()], needed, **parameters)
            hit = open_[next_["broken"]]
            found["broken"][hit] = True
            found["stage"][hit] = number_
            if "x" in fields:
                found["x"][hit] = next_["x"][next_["broken"]]
        return found

    def examine(self, context: Context) -> Measurement:
        measurement = super().examine(context)
        subject = context.subject
        eps = self.budget_of(subject)
        chosen = context.samples(self.samples)
        clean = unattacked(context, chosen)
        found = self.attack(context, chosen, eps, ["broken"])
        stage = np.where(clean, found["stage"].numpy(), -2)
        robust = clean & ~found["broken"].numpy()
        names = ["PGD", *(name for name, _, _ in self.stages(context, eps))]
        rows: list[list[Any]] = []
        standing = int(clean.sum())
        for i, name in enumerate(names):
            broke = int((stage == i).sum())
            rows.append([name, standing, broke])
            standing -= broke
        measurement.tables.insert(0, Table(
            title="The cascade: each attack on what the ones before left",
            columns=["attack", "tried on", "broke"], rows=rows,
        ))  # fmt: skip
        later = [f"{name} {broke}" for name, _, broke in rows[1:] if broke]
        measurement.answer += (
            f" PGD broke {rows[0][2]}" + (f", then {', '.join(later)}" if later else
            ", the stronger attacks nothing more") + "."
        )  # fmt: skip
        smallest, curve = self.curve(context, chosen, clean, robust, eps)
        measurement.metrics.append(smallest)
        measurement.figures[0] = curve
        for by, labels in self.groupings(context, chosen).items():
            metrics, picture = self.who_pays(by, labels, robust, clean)
            measurement.metrics += metrics
            measurement.figures += picture
        measurement.guidance["robust_gap"] = Guidance(
            title="Under attack some groups keep far fewer right answers: {slice}",
            what_happened=f"Changing {budget_words(subject, eps)} leaves the best and the worst off of "
            "{slice} {value} ({low} to {high}) apart; the bound is {bound}.",
            why_it_matters="An average over all hides who can be attacked: those whose samples lie "
            "closer to a boundary pay.",
            what_to_do="See the figure for whom; weigh adversarial training by group, or collect more.",
            tags=["NIST AI RMF MEASURE 2.11", "EU AI Act Article 15"],
        )
        return measurement

    def curve(
        self, context: Context, chosen: NDArray[np.intp], clean: NDArray[np.bool_],
        robust: NDArray[np.bool_], eps: float,
    ) -> tuple[Metric, Figure]:  # fmt: skip
        """Median smallest budget, and accuracy at every budget."""
        from audit.methods.attacks.apgd import minimum_eps

        clusters = context.clusters(chosen)
        smallest = context.evidence(
            minimum_eps, chosen, highest=REACH * eps, halvings=HALVINGS, steps=self.steps
        )["eps"].double().numpy()  # fmt: skip
        # What the cascade broke needs no more than eps, whatever the search found.
        smallest = np.where(clean & ~robust, np.minimum(smallest, eps), smallest)
        smallest[~clean] = 0.0
        rows = []
        for at in np.linspace(0, REACH * eps, POINTS + 1):
            metric = statistics.proportion("r", (smallest > at) & clean, clusters=clusters)
            rows.append({"eps": at, "robust accuracy": metric.value, "low": metric.low,
                         "high": metric.high, "series": "worst case"})  # fmt: skip
        within = smallest[clean]
        name = "median_smallest_eps"
        if len(within) < FEWEST or np.median(within) >= REACH * eps:
            median = statistics.undefined(
                name, f"half of the answers stand at {number(REACH * eps)} and more", n=len(within),
                direction="higher",
            )  # fmt: skip
        else:
            capped = np.minimum(within, REACH * eps)
            median = statistics.bootstrap(
                name, lambda index: np.median(capped[index], axis=1), len(capped),
                clusters=None if clusters is None else clusters[clean], seed=context.seed, draws=1000,
                direction="higher", edges=None,
            )  # fmt: skip
        what = "Share within the tolerance" if context.subject.is_regression else "Accuracy"
        quarter = rows[POINTS // int(REACH)]
        return median, figures.curve(
            rows, x="eps", y="robust accuracy", series="series", bound=self.bound,
            title=f"{what} at every size of the change, from one search",
            caption=f"{what} is {share(float(rows[0]['robust accuracy'] or 0))} without an attack, "
            f"{share(float(quarter['robust accuracy'] or 0))} at eps {number(eps)} and "
            f"{share(float(rows[-1]['robust accuracy'] or 0))} at {number(REACH * eps)}. The dashed "
            "line is the default bound.",
        )

    def groupings(self, context: Context, chosen: NDArray[np.intp]) -> dict[str, NDArray[np.str_]]:
        subject = context.subject
        found = {name: labels[chosen] for name, labels in subject.sensitive.items()}
        if not subject.is_regression:
            assert subject.y is not None
            found = {"class": np.array(subject.classes)[subject.y.numpy()[chosen]], **found}
        return found

    def who_pays(
        self, by: str, labels: NDArray[np.str_], robust: NDArray[np.bool_], clean: NDArray[np.bool_]
    ) -> tuple[list[Metric], list[Figure]]:
        """Accuracy under attack of each group, and the gap between them."""
        metrics = [
            statistics.proportion("robust_accuracy_of", robust[labels == label],
                                  slice={by: str(label)})
            for label in np.unique(labels)
        ]  # fmt: skip
        big = [m for m in metrics if m.n >= FEWEST]
        if len(big) < 2:
            return metrics, []
        gap, low, high = statistics.largest_gap(
            [m.sufficient["successes"] for m in big], [m.sufficient["n"] for m in big]
        )
        metrics.append(Metric(
            name="robust_gap", value=gap, low=low, high=high, n=len(labels), direction="lower",
            slice={"by": by}, estimator="between groups; box of simultaneous Wilson intervals",
            sufficient={"quantiles": {"0.025": low, "0.975": high}},
        ))  # fmt: skip
        rows = [
            {"label": f"{m.slice[by]} (n = {m.n:,})", "value": m.value, "low": m.low, "high": m.high}
            for m in sorted(big, key=lambda m: float(m.value or 0))[:20]
        ]
        return metrics, [figures.intervals(
            rows, value="right under the worst attack", title=f"Who pays: under attack, by {by}",
            caption=f"Answers that stay right, by {by}, worst first: {rows[0]['label']} "
            f"{share(float(rows[0]['value'] or 0))}, {rows[-1]['label']} "
            f"{share(float(rows[-1]['value'] or 0))}.",
        )]  # fmt: skip

    def validity(
        self, context: Context, chosen: NDArray[np.intp], clean: NDArray[np.bool_], eps: float
    ) -> list[Validity]:
        from audit.methods.predictions import repeated

        found = self.attack(context, chosen, eps, ["broken", "loss_rose", "zero_gradient"])
        blind = len(self.stages(context, eps))
        white = {**found, "broken": found["broken"] & (found["stage"] != blind)}
        result = white_box_validity(context, self, chosen, clean, eps, white)
        few = chosen[: max(FEWEST, 32)]
        twice = context.evidence(repeated, few)
        moved = context.subject.changed(twice["first"], twice["again"]).double().mean()
        result.append(Validity(
            name="the same answer twice", passed=bool(moved <= UNSTABLE),
            detail=f"asked again, {share(float(moved))} of {len(few)} answers change (1 % may)",
        ))  # fmt: skip
        return result

    def expectations(self, subject: Subject) -> list[Expectation]:
        return [
            *super().expectations(subject),
            Expectation(metric="robust_gap", slice={"by": "*"}, op="not_shown_above", bound=0.5,
                        severity="medium"),
        ]  # fmt: skip

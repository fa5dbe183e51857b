"""How right does the model stay under the worst of several attacks, and for whom?

A cascade, cheap first, each next attack only on the answers that still stand (Croce and Hein 2020):
projected gradient descent (Madry et al. 2018), Auto-PGD on the cross-entropy, on the difference of
logits ratio and aimed at the nearest other classes, the search for the smallest change, longer attacks
from several starts on what that search broke just beyond the budget, then Square,
which needs no gradient (Andriushchenko et al. 2020). Where the tests of a fair attack find masked
gradients, attacks around the masking follow: gradients passed through what has none, rescaled logits,
means over random draws (Athalye et al. 2018), and a longer search. Robust accuracy is what survives all.
The smallest budget that breaks each sample, by bisection with Auto-PGD, gives accuracy at every budget
from one search. Of a table, categories that were said to be mutable are searched greedily, at most
`changes` of them in a row; numbers move within eps beside them. Accuracy under attack is told by class
and by people's groups: a model may be robust for the majority only. The number is an upper bound all the
same. It must not be shown to lie below half of what is right unattacked, nor below what one answer to
all would get right. It gates where somebody said how much must not matter ([subject.input] eps).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from audit import figures, statistics
from audit.checking import Context, Cost, Expectation, Measurement
from audit.checks.robustness.evasion import NormBounded, Outcome, unattacked
from audit.checks.robustness.fair_attack import same_answer_twice, white_box_validity
from audit.checks.robustness.pgd import PGD
from audit.errors import NotApplicable
from audit.record import Figure, Guidance, Metric, Severity, Table, Validity
from audit.words import number, share

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from audit.meta import Feature
    from audit.subject import Subject

REACH = 4.0  # times eps: how far the search for the smallest budget goes
HALVINGS = 7
POINTS = 16
FEWEST = 10
FIRST = "PGD"
SEARCH = "search for the smallest change"
FIRST_STEPS = 20  # of the search for the smallest budget, and of its L2 sibling's first attack
NEARLY = 1.4  # times eps: what the search broke there is attacked for longer within eps
NEARLY_STARTS = 3
MOST_AIMED = 9
DRAWS = 8  # answers that are averaged of a model that draws lots

Stage = tuple[str, Any, dict[str, Any]]  # name, producer, parameters


def others(count: int) -> str:
    return "one other category" if count == 1 else f"{count} other categories"


class WorstCase(NormBounded):
    """How right does the model stay under the worst of several attacks, and for whom?"""

    id: ClassVar[str] = "robustness.worst_case"
    title: ClassVar[str] = (
        "How right does the model stay under the worst of several attacks, and for whom?"
    )
    finding_title: ClassVar[str] = "The worst of several attacks flips too many answers"
    declared: ClassVar[Severity] = "high"
    undeclared: ClassVar[Severity] = "medium"
    profiles: ClassVar[dict[str, dict[str, Any]]] = {
        "quick": {"samples": 100, "steps": 10, "targets": 1, "queries": 100},
        "deep": {
            "samples": 1000,
            "steps": 100,
            "targets": 9,
            "queries": 2000,
            "diagnostic_samples": 500,
        },
    }

    samples: int = Field(default=200, ge=10, description="at most this many samples are attacked")
    steps: int = Field(default=40, ge=2, description="of each gradient attack but the first")
    restarts: int = Field(default=1, ge=1, description="random starts of each Auto-PGD")
    changes: int = Field(
        default=2,
        ge=0,
        description="categories of a row that may be others at once, of a table's that "
        "were said to be mutable",
    )
    targets: int = Field(
        default=2, ge=0, description="other classes that are aimed at, nearest first"
    )

    def cost(self, subject: Subject) -> Cost:
        n = min(self.samples, subject.n)
        first = PGD()  # on as many samples as its own check attacks
        gradient = min(max(first.samples, n), subject.n) * first.steps
        gradient += n * self.steps * self.restarts * (2 + self.targets)
        gradient += n * FIRST_STEPS * (HALVINGS + 1)
        gradient += n * 2 * self.steps * (2 * NEARLY_STARTS + MOST_AIMED - 1)
        gradient += n * self.steps * 2  # around masked gradients, where they are
        gradient += min(self.diagnostic_samples, n) * (self.free_steps + 4 * first.steps)
        blind = n * 3 * self.queries + min(self.diagnostic_samples, n) * self.queries
        if options := sum(len(f.columns) for f in self.chosen(subject)):
            most = self.most(subject)
            blind += n * (most + 1) * (most + 2) * (options + 1)
            gradient += n * (most * self.steps + FIRST_STEPS * (HALVINGS + 1))
        return Cost(forward=gradient + blind, backward=gradient)

    def applies(self, subject: Subject) -> None:
        try:
            super().applies(subject)
        except NotApplicable:
            if not self.chosen(subject):
                raise

    def chosen(self, subject: Subject) -> list[Feature]:
        """Categories that the adversary may set."""
        from audit.producers.budgets import choosable

        return choosable(subject) if self.norm == "linf" and self.changes else []

    def most(self, subject: Subject) -> int:
        """Categories of a row that may be others at once."""
        return min(self.changes, len(self.chosen(subject)))

    def change(self, subject: Subject, size: float) -> str:
        names = [f.name for f in self.chosen(subject)]
        if not names:
            return super().change(subject, size)
        listed = ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
        choosing = f"another {listed}"
        if len(names) > 1:
            choosing = f"another category of at most {self.most(subject)} of {listed}"
        if not subject.kind.moves_numbers(subject):
            return f"Choosing {choosing}"
        return f"{super().change(subject, size)}, and choosing {choosing},"

    def gradient_stages(self, context: Context, eps: float) -> list[Stage]:
        """The attacks that follow on PGD."""
        from audit.producers.attacks import apgd

        k = context.subject.task.alternatives(context.subject)
        common = {"eps": eps, "steps": self.steps, "restarts": self.restarts, **self.parts()}
        found: list[Stage] = [
            ("Auto-PGD, cross-entropy", apgd, {**common, "loss": "ce"}),
            ("Auto-PGD, difference of logits", apgd, {**common, "loss": "dlr"}),
        ]
        if k > 2:
            found += [
                (
                    f"Auto-PGD, aimed at other class {rank + 1}",
                    apgd,
                    {**common, "loss": "targeted", "rank": rank},
                )
                for rank in range(min(self.targets, k - 1))
            ]
        return found

    def category_stages(self, context: Context, eps: float) -> list[Stage]:
        """One other category, then more, up to as many as may be others at once."""
        from audit.producers.attacks import recategorised

        return [
            (others(count), recategorised, {"eps": eps, "steps": self.steps, "changes": count})
            for count in range(1, self.most(context.subject) + 1)
        ]

    def stages(self, context: Context, eps: float) -> list[str]:
        """The names of all attacks, in order; those around masked gradients are not always run."""
        return [
            FIRST,
            *(name for name, _, _ in self.gradient_stages(context, eps)),
            SEARCH,
            *(name for name, _, _ in self.nearly_stages(context, eps)),
            *(name for name, _, _ in self.blind_stages(eps, self.queries)),
            *(name for name, _, _ in self.unmasking_stages(eps, 1)),
            *(name for name, _, _ in self.category_stages(context, eps)),
        ]

    def nearly_stages(self, context: Context, eps: float) -> list[Stage]:
        """Longer attacks, for what fell just beyond the budget: from several starts, and aimed at every
        other class that is among the nearest `MOST_AIMED`.
        """
        from audit.producers.attacks import apgd

        common = {"eps": eps, "steps": 2 * self.steps, **self.parts()}
        k = context.subject.task.alternatives(context.subject)
        found: list[Stage] = [
            (
                "longer, on what nearly fell, difference of logits",
                apgd,
                {**common, "loss": "dlr", "restarts": NEARLY_STARTS},
            )
        ]
        if k > 2:
            found += [
                (
                    f"longer, on what nearly fell, aimed at other class {rank + 1}",
                    apgd,
                    {
                        **common,
                        "loss": "targeted",
                        "rank": rank,
                        "restarts": NEARLY_STARTS if not rank else 1,
                    },
                )
                for rank in range(min(MOST_AIMED, k - 1))
            ]
        return found

    def blind_stages(self, eps: float, queries: int) -> list[Stage]:
        from audit.producers.attacks import square

        return [
            ("search without gradients", square, {"eps": eps, "queries": queries, **self.parts()})
        ]

    def unmasking_stages(self, eps: float, draws: int) -> list[Stage]:
        from audit.producers.attacks import unmasked

        common = {"eps": eps, "steps": self.steps, "draws": draws, **self.parts()}
        stages: list[Stage] = [
            ("around masked gradients, cross-entropy", unmasked, {**common, "loss": "ce"}),
            ("around masked gradients, difference of logits", unmasked, {**common, "loss": "dlr"}),
        ]
        if draws == 1:
            stages += [
                (f"longer {name}", produce, parameters)
                for name, produce, parameters in self.blind_stages(eps, 2 * self.queries)
            ]
        return stages

    def first(
        self, context: Context, samples: NDArray[np.intp], eps: float, fields: list[str]
    ) -> dict[str, Tensor]:
        """PGD, by the evidence that its own check made or will make: the samples are nested."""
        import torch

        pgd = PGD(**PGD.profiles.get(context.profile, {}))
        whole = context.samples(max(pgd.samples, self.samples))
        rows = torch.from_numpy(np.isin(whole, samples))
        made = pgd.attack(context, whole, eps, fields)
        return {name: tensor[rows].clone() for name, tensor in made.items()}

    def attack(
        self, context: Context, samples: NDArray[np.intp], eps: float, fields: list[str]
    ) -> dict[str, Tensor]:
        """The cascade, as the evidence of one attack.

        Returns:
            besides: `white` [n], broken by the gradient attacks; `stage` [n], the number of the
            attack that broke it, −1 for none; `masked` [n], whether gradients seem to be.
        """
        import torch

        found = self.first(context, samples, eps, list({*fields, *self.fields}))
        found["stage"] = torch.where(found["broken"], 0, -1)
        names = self.stages(context, eps)

        def follow(stages: list[Stage], among: Tensor | None = None) -> None:
            self.follow(context, samples, found, stages, names, among)

        follow(self.gradient_stages(context, eps))
        near = self.search(
            context, samples, eps, ["eps", "x"] if "x" in found else ["eps"], masked=False
        )
        hit = (
            torch.from_numpy(unattacked(context, samples)) & ~found["broken"] & (near["eps"] <= eps)
        )
        found["broken"] |= hit
        found["stage"][hit] = names.index(SEARCH)
        if "x" in found:
            found["x"][hit] = near["x"][hit]
        follow(self.nearly_stages(context, eps), among=near["eps"] <= NEARLY * eps)
        found["white"] = found["broken"].clone()
        follow(self.blind_stages(eps, self.queries))
        masked = any(v.passed is False for v in self.fairness(context, samples, eps, found))
        found["masked"] = torch.full_like(found["broken"], masked)
        if masked:
            follow(self.unmasking_stages(eps, self.draws(context, samples)))
        follow(self.category_stages(context, eps))
        return found

    def draws(self, context: Context, samples: NDArray[np.intp]) -> int:
        """Forward passes that an answer is the mean of: more than one where the model draws lots."""
        return DRAWS if same_answer_twice(context, samples).passed is False else 1

    def steps_taken(self, context: Context, outcome: Outcome) -> list[tuple[str, int]]:
        """The attacks that were run, by name, and how many each broke."""
        names = self.stages(context, outcome.size)
        left_out = {name for name, _, _ in self.unmasking_stages(outcome.size, 1)}
        if bool(outcome.found["masked"].any()):
            draws = self.draws(context, outcome.samples)
            left_out -= {name for name, _, _ in self.unmasking_stages(outcome.size, draws)}
        stage = outcome.found["stage"].numpy()[outcome.clean]
        return [
            (name, int((stage == i).sum())) for i, name in enumerate(names) if name not in left_out
        ]

    def follow(
        self,
        context: Context,
        samples: NDArray[np.intp],
        found: dict[str, Tensor],
        stages: Sequence[Stage],
        names: list[str],
        among: Tensor | None = None,
    ) -> None:
        """Stages, each on what stands before it; `found` is brought up to date.

        Args:
            names: of all stages, by number.
            among: [n] samples that are attacked; all where None.
        """
        import torch

        right = torch.from_numpy(unattacked(context, samples))
        right = right if among is None else right & among
        for name, produce, parameters in stages:
            open_ = (~found["broken"] & right).nonzero()[:, 0]
            if len(open_) == 0:
                break
            needed = ["broken", "x"] if "x" in found else ["broken"]
            next_ = context.evidence(produce, samples[open_.numpy()], needed, **parameters)
            hit = open_[next_["broken"]]
            found["broken"][hit] = True
            found["stage"][hit] = names.index(name)
            if "x" in found:
                found["x"][hit] = next_["x"][next_["broken"]]

    def fairness(
        self, context: Context, samples: NDArray[np.intp], eps: float, found: dict[str, Tensor]
    ) -> list[Validity]:
        clean = unattacked(context, samples)
        white = {**found, "broken": found["white"]}
        steps = PGD(**PGD.profiles.get(context.profile, {})).steps
        return white_box_validity(context, self, samples, clean, eps, white, steps)

    def validity(self, context: Context, outcome: Outcome) -> list[Validity]:
        return self.fairness(context, outcome.samples, outcome.size, outcome.found)

    def add(self, context: Context, outcome: Outcome, measurement: Measurement) -> None:
        taken = self.steps_taken(context, outcome)
        standing = int(outcome.clean.sum())
        rows: list[list[Any]] = []
        for name, broke in taken:
            rows.append([name, standing, broke])
            standing -= broke
        measurement.tables.insert(
            0,
            Table(
                title="The cascade: each attack on what the ones before left",
                columns=["attack", "tried on", "broke"],
                rows=rows,
            ),
        )
        (name, broke), *rest = taken
        later = [f"{more} {hits} more" for more, hits in rest if hits]
        measurement.answer += f" {name[0].upper()}{name[1:]} broke {broke}" + (
            f", then {', '.join(later)}." if later else ", the other attacks nothing more."
        )
        measurement.answer += self.remark(context.subject)
        measurement.metrics.append(self.median(context, outcome))
        if most := self.most(context.subject):
            metrics, curve = self.by_changes(context, outcome, most)
            measurement.metrics += metrics
            measurement.figures.insert(0, curve)
        clusters = context.clusters(outcome.samples)
        for by, labels in self.groupings(context, outcome.samples).items():
            metrics, picture = self.who_pays(by, labels, outcome, clusters)
            measurement.metrics += metrics
            measurement.figures += picture
        measurement.guidance["robust_gap"] = Guidance(
            title="Under attack some groups keep far fewer right answers: {slice}",
            what_happened=f"{self.change(context.subject, outcome.size)} leaves the best and the worst "
            "off of {slice} {value} ({low} to {high}) apart; the bound is {bound}.",
            why_it_matters="An average over all hides who can be attacked: those whose samples lie "
            "closer to a boundary pay.",
            what_to_do="See the figure for whom; weigh adversarial training by group, or collect more.",
            tags=["NIST AI RMF MEASURE 2.11", "EU AI Act Article 15"],
        )

    def search(
        self,
        context: Context,
        samples: NDArray[np.intp],
        eps: float,
        fields: list[str],
        *,
        masked: bool,
        changes: int = 0,
    ) -> dict[str, Tensor]:
        """`eps` [n], the smallest budget that a search broke each sample with, and `x` [n, ...].

        Args:
            changes: categories that are others before the numbers move.
        """
        from audit.producers.attacks import minimum_eps

        return context.evidence(
            minimum_eps,
            samples,
            fields,
            highest=REACH * eps,
            halvings=HALVINGS,
            steps=FIRST_STEPS,
            around=masked,
            changes=changes,
        )

    def smallest(self, context: Context, outcome: Outcome) -> NDArray[np.float64]:
        """[n] the smallest budget that broke each sample; 0 of what was wrong before."""
        masked = bool(outcome.found["masked"].any())
        made = self.search(context, outcome.samples, outcome.size, ["eps"], masked=masked)
        found = made["eps"].double().numpy()
        if most := self.most(context.subject):
            other = self.search(
                context, outcome.samples, outcome.size, ["eps"], masked=masked, changes=most
            )
            found = np.minimum(found, other["eps"].double().numpy())
        # What the cascade broke needs no more than eps, whatever the search found.
        found = np.where(outcome.broken, np.minimum(found, outcome.size), found)
        found[~outcome.clean] = 0.0
        return found

    def median(self, context: Context, outcome: Outcome) -> Metric:
        name = "median_smallest_eps"
        clusters = context.clusters(outcome.samples)
        within = self.smallest(context, outcome)[outcome.clean]
        if len(within) < FEWEST or np.isinf(np.median(within)):
            return statistics.undefined(
                name,
                "half of the answers stand at every budget that was searched",
                n=len(within),
                direction="higher",
            )
        capped = np.minimum(within, within[np.isfinite(within)].max())
        return statistics.bootstrap(
            name,
            lambda index: np.median(capped[index], axis=1),
            len(capped),
            clusters=None if clusters is None else clusters[outcome.clean],
            seed=context.seed,
            draws=1000,
            direction="higher",
            edges=None,
        )

    def pictures(
        self, context: Context, base: Metric, outcomes: list[Outcome], bound: float
    ) -> list[Figure]:
        subject = context.subject
        eps = self.size(subject)
        outcome = next(o for o in outcomes if o.size == eps)
        found = super().pictures(context, base, outcomes, bound) if len(outcomes) > 1 else []
        if not eps or not subject.kind.moves_numbers(subject):
            return found
        smallest, clusters = self.smallest(context, outcome), context.clusters(outcome.samples)
        y = subject.task.robust
        rows = []
        for at in np.linspace(0, REACH * eps, POINTS + 1):
            metric = statistics.proportion("r", (smallest > at) & outcome.clean, clusters=clusters)
            rows.append(
                {
                    "eps": at,
                    y: metric.value,
                    "low": metric.low,
                    "high": metric.high,
                    "series": "worst case",
                }
            )
        what = subject.task.share_good.capitalize()
        first, quarter, last = (
            share(float(rows[i][y] or 0)) for i in (0, POINTS // int(REACH), -1)
        )
        most = self.most(subject)
        alone = f", {first} with {others(most)} alone" if most else ""
        return [
            *found,
            figures.curve(
                rows,
                x="eps",
                y=y,
                series="series",
                bound=bound,
                asked=eps,
                title=f"{what} at every size of the change, from one search",
                caption=f"{what} is {share(float(base.value or 0))} without an attack{alone}, {quarter} at "
                f"eps {number(eps)} and {last} at {number(REACH * eps)}. The dashed line is the default "
                "bound, the dotted one the eps that is judged.",
            ),
        ]

    def by_changes(
        self, context: Context, outcome: Outcome, most: int
    ) -> tuple[list[Metric], Figure]:
        """What stands where none, one, … categories may be others, each with numbers within eps."""
        names, clusters = self.stages(context, outcome.size), context.clusters(outcome.samples)
        stage = outcome.found["stage"].numpy()
        metrics = []
        for count in range(most + 1):
            too_many = [names.index(others(more)) for more in range(count + 1, most + 1)]
            stands = outcome.clean & (~outcome.broken | np.isin(stage, too_many))
            metrics.append(
                statistics.proportion(
                    self.measure_of(context.subject),
                    stands,
                    clusters=clusters,
                    slice={self.size_name: outcome.size, "categories": float(count)},
                )
            )
        what = context.subject.task.robust
        rows = [
            {
                "categories": count,
                what: m.value,
                "low": m.low,
                "high": m.high,
                "series": "worst case",
            }
            for count, m in enumerate(metrics)
        ]
        return metrics, figures.curve(
            rows,
            x="categories",
            y=what,
            series="series",
            title=f"{what.capitalize()}, against how many categories of a row may be others",
            caption=f"Of {len(stage):,} answers {share(float(outcome.clean.mean()))} are right without an "
            f"attack; within eps {number(outcome.size)} there stand "
            + ", ".join(
                f"{share(float(m.value or 0))} with {others(count) if count else 'the same categories'}"
                for count, m in enumerate(metrics)
            )
            + ".",
        )

    def groupings(self, context: Context, chosen: NDArray[np.intp]) -> dict[str, NDArray[np.str_]]:
        subject = context.subject
        found = {name: labels[chosen] for name, labels in subject.sensitive.items()}
        if subject.task.decides:
            found = {"class": np.array(subject.classes)[subject.labels.numpy()[chosen]], **found}
        return found

    def who_pays(
        self, by: str, labels: NDArray[np.str_], outcome: Outcome, clusters: NDArray[np.str_] | None
    ) -> tuple[list[Metric], list[Figure]]:
        """Each group's accuracy, before and under attack, and the gap under attack between them."""
        members = {str(label): labels == label for label in np.unique(labels)}
        of = {name: None if clusters is None else clusters[rows] for name, rows in members.items()}
        under = {
            name: statistics.proportion(
                "robust_accuracy_of", outcome.standing[rows], clusters=of[name], slice={by: name}
            )
            for name, rows in members.items()
        }
        before = [
            statistics.proportion(
                "clean_accuracy_of", outcome.clean[rows], clusters=of[name], slice={by: name}
            )
            for name, rows in members.items()
        ]
        metrics = [*under.values(), *before]
        if len(members) < 2:
            return metrics, []
        metrics.append(
            statistics.gap_between(
                "robust_gap",
                {name: outcome.standing[rows] for name, rows in members.items()},
                clusters=None
                if clusters is None
                else {k: v for k, v in of.items() if v is not None},
                slice={"by": by},
            )
        )
        rows = [
            {
                "label": f"{name} (n = {m.n:,}; "
                f"{share(float(outcome.clean[members[name]].mean()))} unattacked)",
                "value": m.value,
                "low": m.low,
                "high": m.high,
            }
            for name, m in sorted(under.items(), key=lambda pair: float(pair[1].value or 0))[:20]
        ]
        return metrics, [
            figures.intervals(
                rows,
                value="right under the worst attack",
                title=f"Who pays: under attack, by {by}",
                caption=f"Answers that stay right, by {by}, worst first: {rows[0]['label']} "
                f"{share(float(rows[0]['value'] or 0))}, {rows[-1]['label']} "
                f"{share(float(rows[-1]['value'] or 0))}.",
            )
        ]

    def expectations(self, subject: Subject) -> list[Expectation]:
        _, gates = self.gate(subject)
        return [
            Expectation(
                metric="robust_gap",
                slice={"by": "*"},
                op="not_shown_above",
                bound=0.5,
                severity="medium" if gates else "info",
                gates=gates,
            )
        ]

"""What the two worst cases share.

How their cascades are run and what they cost, which attack broke what, what is left at every size, and
who pays. No check itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from audit import figures, statistics
from audit.checking import Context, Cost, Expectation
from audit.checks.robustness.evasion import Beyond, Outcome, unattacked
from audit.checks.robustness.fair_attack import (
    blind_cost,
    fair_cost,
    same_answer_twice,
    white_box_validity,
)
from audit.checks.robustness.norm_bounded import NormBounded
from audit.checks.robustness.pgd import PGD
from audit.record import Figure, Guidance, Metric, Table, Validity
from audit.subject import Subject
from audit.threats.cascade import (
    MOST_AIMED,
    NEARLY_STARTS,
    REACH,
    Cascade,
    Fallen,
    smallest_change,
)
from audit.threats.threat import Threat
from audit.words import number, share

if TYPE_CHECKING:  # which imports this file
    from audit.checks.robustness.worst_case import WorstCase
    from audit.checks.robustness.worst_case_l2 import WorstCaseL2

POINTS = 16
FEWEST = 10
DRAWS = 8  # answers that are averaged of a model that draws lots
NEAR = 0.07  # share of the samples that nearly fall, as a rule


def run(
    check: NormBounded,
    cascade: Cascade,
    context: Context,
    samples: NDArray[np.intp],
    points: bool,
) -> Fallen:
    """A check's cascade, with the tests of a fair attack as what tells masked gradients."""
    clean = unattacked(context, samples)

    def masked(found: Fallen) -> bool:
        held = fair(check, context, cascade.threat, samples, clean, found)
        return any(v.passed is False for v in held)

    return cascade.run(context, samples, clean, masked, points=points)


def fairness(check: NormBounded, context: Context, outcome: Outcome) -> list[Validity]:
    """The tests of a fair attack, of what gradients broke."""
    return fair(check, context, outcome.threat, outcome.samples, outcome.clean, outcome.found)


def fair(
    check: NormBounded,
    context: Context,
    threat: Threat,
    samples: NDArray[np.intp],
    clean: NDArray[np.bool_],
    found: Fallen,
) -> list[Validity]:
    """The tests of a fair attack, on what a cascade ran."""
    steps = context.configured(PGD).steps
    return white_box_validity(context, check, threat, samples, clean, found, steps)


def draws(context: Context, samples: NDArray[np.intp]) -> int:
    """How many answers are averaged around masked gradients: several where the model draws lots."""
    return 1 if same_answer_twice(context, samples).passed else DRAWS


def cost(
    check: WorstCase | WorstCaseL2,
    subject: Subject,
    *,
    first: Cost,
    search: float,
    standing: float,
    blind_shared: bool = False,
    options: int = 0,
    changes: int = 0,
) -> Cost:
    """The passes of a cascade, as a rule: what stands is not known before.

    Args:
        first: of the first attack. search: for the smallest change, of a sample; 0 where none is searched.
        standing: share of the samples that stand before most of the attacks.
        blind_shared: is the search without gradients that of the tests of a fair attack?
        options: categories that a row may have instead; changes: how many features may have others at once.
    """
    n, k = min(check.count(subject), subject.n), subject.task.alternatives(subject)
    targets, aimed = (min(most, k - 1) if k > 2 else 0 for most in (check.targets, MOST_AIMED))
    usual = standing * n * check.steps * check.restarts * (2 + targets)
    nearly = NEAR * n * 2 * check.steps * (2 * NEARLY_STARTS + max(aimed - 1, 0)) if search else 0
    search, asked = n * search, float(n)
    threat, few = check.threat(subject, check.size(subject)), min(check.diagnostic_samples, n)
    others = blind_cost(subject, threat, check.queries, few)[1] if blind_shared else Cost()
    open_ = usual + standing * (n - few if blind_shared else n) * check.queries
    own = usual + nearly + search
    if options:
        # Whoever has a category to change again has one feature of them left.
        tried = [n * options * (1 + count / 2) for count in range(1, changes + 1)]
        open_ += standing * (sum(tried) + n * changes * check.steps)
        asked += tried[-1] if search else 0
        own += standing * n * changes * check.steps + search
        search *= 2
    passes = Cost.between(
        search + asked, open_ + nearly + search + asked, open_ / standing + nearly + search + asked
    )
    return (
        first
        + replace(passes, backward=round(own))
        + others
        + fair_cost(check, subject, check.beside(PGD).steps)
    )


def smallest_sizes(context: Context, outcome: Outcome, changes: int = 0) -> NDArray[np.float64]:
    """[n] the smallest change that broke each sample; 0 of what was wrong before.

    Args:
        changes: categories that may be others beside it.
    """
    around = outcome.found.masked
    found = np.full(len(outcome.samples), np.inf)
    for count in {0, changes}:
        search = smallest_change(outcome.threat, around=around, changes=count)
        made = search.on(context, outcome.samples, ["eps"])["eps"]
        found = np.minimum(found, made.double().numpy())
    # What the cascade broke needs no more than its size, whatever the search found.
    found = np.where(outcome.broken, np.minimum(found, outcome.size), found)
    found[~outcome.clean] = 0.0
    return found


def beyond(
    context: Context,
    outcome: Outcome,
    smallest: NDArray[np.float64] | None,
    remark: str,
    more: Sequence[Metric] = (),
) -> Beyond:
    """Which attack broke what, how much is enough for half of the samples, and who pays.

    Args:
        smallest: [n] the smallest change that broke each sample; None where none was searched.
        more: metrics that are told between these two.
    """
    steps = outcome.found.steps(outcome.clean)
    (name, _, broke), *rest = steps
    later = [f"{other} {hits} more" for other, _, hits in rest if hits]
    told = f", then {', '.join(later)}." if later else ", the other attacks nothing more."
    halfway = [] if smallest is None else [median(context, outcome, smallest)]
    metrics, pictures = [*halfway, *more], []
    for by, labels in groupings(context, outcome.samples).items():
        of, drawn = who_pays(by, labels, outcome, context.clusters(outcome.samples))
        metrics += of
        pictures += drawn
    return Beyond(
        sentence=f" {name[0].upper()}{name[1:]} broke {broke}{told}{remark}",
        metrics=metrics,
        tables=[
            Table(
                title="The cascade: each attack on what the ones before left",
                columns=["attack", "tried on", "broke"],
                rows=[list(step) for step in steps],
            )
        ],
        figures=pictures,
        guidance={
            "robust_gap": Guidance(
                title="Under attack some groups keep far fewer right answers: {slice}",
                what_happened=f"{outcome.threat.told} leaves the best and the worst "
                "off of {slice} {value} ({low} to {high}) apart; the bound is {bound}.",
                why_it_matters="An average over all hides who can be attacked: those whose samples lie "
                "closer to a boundary pay.",
                what_to_do="See the figure for whom; weigh adversarial training by group, or collect more.",
                tags=["NIST AI RMF MEASURE 2.11", "EU AI Act Article 15"],
            )
        },
    )


def gap_expectation(gates: bool) -> Expectation:
    """Groups must not be shown to keep far fewer right answers than others."""
    return Expectation(
        metric="robust_gap",
        slice={"by": "*"},
        op="not_shown_above",
        bound=0.5,
        severity="medium" if gates else "info",
        gates=gates,
    )


def median(context: Context, outcome: Outcome, smallest: NDArray[np.float64]) -> Metric:
    """The size of the change that breaks half of the samples."""
    name = "median_smallest_eps"
    clusters = context.clusters(outcome.samples)
    within = smallest[outcome.clean]
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


def every_size(
    context: Context,
    outcome: Outcome,
    smallest: NDArray[np.float64],
    base: Metric,
    bound: float,
    alone: str = "",
) -> Figure:
    """What is left at every size of the change, from one search.

    Args:
        alone: what may be changed beside it: 'one other category'.
    """
    subject, eps = context.subject, outcome.size
    clusters, y = context.clusters(outcome.samples), subject.task.robust
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
    first, quarter, last = (share(float(rows[i][y] or 0)) for i in (0, POINTS // int(REACH), -1))
    beside = f", {first} with {alone} alone" if alone else ""
    return figures.curve(
        rows,
        x="eps",
        y=y,
        series="series",
        bound=bound,
        asked=eps,
        title=f"{what} at every size of the change, from one search",
        caption=f"{what} is {share(float(base.value or 0))} without an attack{beside}, {quarter} at "
        f"eps {number(eps)} and {last} at {number(REACH * eps)}. The dashed line is the default "
        "bound, the dotted one the eps that is judged.",
    )


def groupings(context: Context, chosen: NDArray[np.intp]) -> dict[str, NDArray[np.str_]]:
    """Class and sensitive attributes of some samples, by name."""
    subject = context.subject
    found = {name: labels[chosen] for name, labels in subject.sensitive.items()}
    if subject.task.decides:
        found = {"class": np.array(subject.classes)[subject.labels.numpy()[chosen]], **found}
    return found


def who_pays(
    by: str, labels: NDArray[np.str_], outcome: Outcome, clusters: NDArray[np.str_] | None
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
            clusters=None if clusters is None else {k: v for k, v in of.items() if v is not None},
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

"""How well do the regions that the model finds match the true ones?

The intersection of the true and the answered units of each class over their union (IoU), and its mean over
the classes (Everingham et al. 2010, section 4.3), beside that of the best constant answer. And region by
region, units of one class that touch: a true region is found where an answered one of its class overlaps
it by more than half (Kirillov et al. 2019, section 4.1). How many are found is told for the smallest, the
middle and the largest third apart, for small ones hardly count in a mean over units, and how many of the
answered ones are true. Regions of the background, where a class is called so (`[subject] background`), are
not counted. The answers are also moved by up to two units, as fits one half of the samples best: if that
helps on the other half, answers and labels lie apart. Units of one sample are not independent: intervals
are over samples.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from audit import figures, statistics
from audit.checking import Check, Context, Expectation, Measurement, worst_rows
from audit.methods.regions import Regions, regions
from audit.outputs import decided
from audit.record import Figure, Guidance, Metric, Table
from audit.subject import Subject
from audit.words import amount, number, span

HALF = 0.5
FURTHEST = 2  # units that answers are moved by
TAGS = ["NIST AI RMF MEASURE 2.3", "EU AI Act Article 15"]
THIRDS = ("smallest", "middle", "largest")
MOST_SHOWN = 40


@dataclass(frozen=True)
class Counts:
    """Units of each sample and class, [n, classes]: in both labellings, true ones, answered ones."""

    both: NDArray[np.float64]
    true: NDArray[np.float64]
    said: NDArray[np.float64]

    @classmethod
    def of(cls, y: NDArray[np.intp], said: NDArray[np.intp], k: int) -> Counts:
        judged = y >= 0
        return cls(
            per_sample(y, judged & (y == said), k),
            per_sample(y, judged, k),
            per_sample(said, judged & (said >= 0), k),
        )

    def iou(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """[b, classes] intersection over union with the samples [b, n] counted so often; NaN: no unit."""
        both, union = weights @ self.both, weights @ (self.true + self.said - self.both)
        with np.errstate(invalid="ignore"):
            found: NDArray[np.float64] = both / np.where(union > 0, union, np.nan)
        return found


class RegionsFound(Check):
    """How well do the regions that the model finds match the true ones?"""

    id: ClassVar[str] = "performance.regions"
    title: ClassVar[str] = "How well do the regions that the model finds match the true ones?"
    counts_unanswered: ClassVar[bool] = True

    def applies(self, subject: Subject) -> None:
        subject.require("regions")

    def examine(self, context: Context) -> Measurement:
        subject, names = context.subject, context.subject.classes
        y = subject.labels.numpy()
        said = decided(context.answers()).numpy()
        k, unit = len(names), subject.task.unit(subject)
        counts = Counts.of(y, said, k)
        most = int(counts.true.sum(0).argmax())
        constant = Counts.of(y, np.full_like(said, most), k)
        mean = over_samples(context, "mean_iou", lambda w: np.nanmean(counts.iou(w), 1))
        gain = over_samples(
            context,
            "iou_gain_over_constant",
            lambda w: np.nanmean(counts.iou(w), 1) - np.nanmean(constant.iou(w), 1),
            edges=(-1.0, 1.0),
        )
        each = [
            over_samples(context, "iou", lambda w, i=i: counts.iou(w)[:, i], {"class": name})
            for i, name in enumerate(names)
            if counts.true[:, i].any()
        ]
        shape = (len(y), *subject.task.grid(subject))
        ground = subject.task.background(subject)
        true = regions(y.reshape(shape), said.reshape(shape), ground)
        made = regions(np.where(y >= 0, said, -1).reshape(shape), y.reshape(shape), ground)
        found = found_regions(context, true, made)
        base = float(np.nanmean(constant.iou(np.ones((1, len(y))))))
        return Measurement(
            answer=f"The mean IoU over {len(each)} classes is {number(mean.value)} "
            f"({span(mean.low, mean.high)}; {len(y):,} samples); answering {names[most]} everywhere has "
            f"{number(base)}. {told(found)}",
            metrics=[
                mean,
                gain,
                shift_gain(context, y.reshape(shape), said.reshape(shape)),
                *each,
                *found,
            ],
            tables=[by_class(each, counts, names, unit)],
            figures=[drawn(each)],
            guidance=advice(names[most], base, unit),
        )

    def expectations(self, subject: Subject) -> list[Expectation]:
        return [
            Expectation(metric="iou_gain_over_constant", op=">=", bound=0.0, severity="high"),
            Expectation(metric="shift_gain", op="not_shown_above", bound=0.02, severity="high"),
            Expectation(
                metric="regions_found",
                slice={"of": "*"},
                op="not_shown_below",
                bound=0.5,
                severity="high",
            ),
        ]


def by_class(each: list[Metric], counts: Counts, names: list[str], unit: str) -> Table:
    """The IoU of each class."""
    rows: list[list[str | float | int | bool | None]] = []
    for m in each:
        name = str(m.slice["class"])
        rows.append([name, int(counts.true[:, names.index(name)].sum()), m.value, m.low, m.high])
    return worst_rows("IoU by class", ["class", unit, "IoU", "low", "high"], rows, "IoU")


def drawn(each: list[Metric]) -> Figure:
    """The IoU of each class, worst first."""
    shown = sorted((m for m in each if m.value is not None), key=lambda m: float(m.value or 0))
    return figures.intervals(
        [
            {"label": str(m.slice["class"]), "value": m.value, "low": m.low, "high": m.high}
            for m in shown[:MOST_SHOWN]
        ],
        value="IoU",
        domain=(0, 1),
        title="Overlap by class",
        caption="Intersection over union of each class with 95 % intervals, worst first: from "
        f"{number(shown[0].value)} ({shown[0].slice['class']}) to "
        f"{number(shown[-1].value)} ({shown[-1].slice['class']}).",
    )


def advice(most: str, base: float, unit: str) -> dict[str, Guidance]:
    """What a failed expectation on each metric means, and what to do about it."""
    return {
        "iou_gain_over_constant": Guidance(
            title="The regions are hardly better than a constant answer",
            what_happened=f"Answering {most} everywhere has a mean IoU of {number(base)}; the "
            "model gains {value} over that ({low} to {high}).",
            why_it_matters="A model that does not beat a constant has learnt nothing that its "
            "users could rely on.",
            what_to_do="Check that labels, class order and preprocessing of the evaluation data "
            "match the training, then the training itself.",
            tags=TAGS,
        ),
        "shift_gain": Guidance(
            title="Answers and labels lie apart",
            what_happened=f"Moved by up to {FURTHEST} {unit}, the answers would be right on a share of each "
            f"sample's {unit} that is larger by {{value}} ({{low}} to {{high}}; n = {{n}}), where the "
            "move was fitted to other samples.",
            why_it_matters="The model may find everything, and marks it in the wrong place.",
            what_to_do="Look for an offset between inputs and labels: padding, a resize with other "
            "corners, special tokens, a label that is due one step later.",
            tags=TAGS,
        ),
        "regions_found": Guidance(
            title="Regions are missed: {slice}",
            what_happened="Of the true regions {slice} {value} are found ({low} to {high}; n = {n}); "
            "the bound is {bound}.",
            why_it_matters="Each region is a thing that somebody looks for; a mean over "
            f"{unit} hardly counts a small one.",
            what_to_do="Weigh small regions in the loss, train at a finer resolution, or collect "
            "more of them.",
            tags=TAGS,
        ),
    }


def per_sample(
    classes: NDArray[np.intp], counted: NDArray[np.bool_], k: int
) -> NDArray[np.float64]:
    """[n, k] how many of the counted units [n, units] are of each class."""
    cells = (classes + k * np.arange(len(classes))[:, None])[counted]
    return np.bincount(cells, minlength=k * len(classes)).reshape(-1, k).astype(np.float64)


def over_samples(
    context: Context, name: str, of: Any, where: Any = None, edges: tuple[float, float] = (0.0, 1.0)
) -> Metric:
    """A statistic of weights [b, n] of the samples, with its bootstrap interval."""
    n = context.subject.n

    def statistic(index: NDArray[np.intp]) -> NDArray[np.float64]:
        return np.asarray(of(np.stack([np.bincount(row, minlength=n) for row in index]) * 1.0))

    return statistics.bootstrap(
        name,
        statistic,
        n,
        clusters=context.clusters(),
        seed=context.seed,
        draws=1000,
        slice=where,
        edges=edges,
    )


def shift_gain(context: Context, y: NDArray[np.intp], said: NDArray[np.intp]) -> Metric:
    """What the answers [n, ...] would gain by lying elsewhere, by a move fitted on the other half."""
    reach = [min(FURTHEST, (extent - 1) // 2) for extent in y.shape[1:]]
    inner = tuple(slice(r, extent - r) for r, extent in zip(reach, y.shape[1:], strict=True))
    true = y[(slice(None), *inner)].reshape(len(y), -1)
    judged = np.maximum((true >= 0).sum(1), 1)
    moves = list(itertools.product(*(range(-r, r + 1) for r in reach)))
    right = np.zeros((len(moves), len(y)))
    for row, move in enumerate(moves):
        at = tuple(slice(s.start + m, s.stop + m) for s, m in zip(inner, move, strict=True))
        moved = said[(slice(None), *at)].reshape(len(y), -1)
        right[row] = ((moved == true) & (true >= 0)).sum(1) / judged
    still = right[moves.index((0,) * len(reach))]
    first = np.random.default_rng(context.seed).permutation(len(y)) % 2 == 0
    gains = np.zeros(len(y))
    for half in (first, ~first):
        best = right[:, half].mean(1).argmax()
        gains[~half] = right[best, ~half] - still[~half]
    return statistics.mean(
        "shift_gain", gains, clusters=context.clusters(), direction="lower", edges=(-1, 1)
    )


def found_regions(context: Context, true: Regions, made: Regions) -> list[Metric]:
    """Shares of the true regions that are found, over all and by size, and of the answered that are true."""
    clusters = context.clusters()

    def of(name: str, part: Regions, kept: NDArray[np.bool_], where: Any = None) -> Metric:
        sample = part.sample[kept]
        own = sample if clusters is None else clusters[sample]
        share = statistics.proportion(name, part.overlap[kept] > HALF, clusters=own, slice=where)
        return context.resting([share], own)[0]

    everything = np.ones(len(true.size), dtype=bool)
    metrics = [
        of("regions_found", true, everything),
        of("regions_true", made, np.ones(len(made.size), dtype=bool)),
    ]
    if len(np.unique(true.size)) >= len(THIRDS):
        low, high = np.quantile(true.size, [1 / 3, 2 / 3])
        sizes = (true.size <= low, (true.size > low) & (true.size <= high), true.size > high)
        metrics += [
            of("regions_found", true, kept, {"of": f"the {third} third"})
            for third, kept in zip(THIRDS, sizes, strict=True)
            if kept.any()
        ]
    return metrics


def told(found: list[Metric]) -> str:
    """What is found region by region, in sentences."""
    recall, precision, *by_size = found
    if recall.value is None:
        return "There is nothing but background."
    text = f"Of {recall.n:,} true regions {amount(recall)} are found"
    if by_size:
        small = by_size[0]
        text += f", of {small.slice['of']} {amount(small)}"
    if precision.value is None:
        return f"{text}; the model answers with none."
    return f"{text}; of {precision.n:,} answered ones {amount(precision)} are true."

"""Do samples of one identity lie next to each other?

Every sample is a query against all other samples, copies of itself left out. Recall@k: the share of
queries with a sample of their identity among the k nearest; mean average precision over the ranks of
all of them (Musgrave, Belongie and Lim 2020 on how such numbers are made). Queries share one gallery,
and those of one identity their mates, so intervals are over identities. As pairs: the equal error rate,
and how many true matches are found where one in 100 or 1,000 pairs of strangers is taken for the same
(Grother and Ngan 2014), by a bootstrap of the ends of pairs, as pairs share them. A rate for which
there are too few pairs is not told.

What there is to beat: always the same answer; the nearest neighbour by the inputs themselves, without
a model; and the same architecture untrained, three times drawn anew, of which the best counts. Random
networks do retrieve, so the last two are compared by average precision on the same queries.

Collapse: the number of dimensions that places really fill (participation ratio of their covariance's
spectrum), and how similar strangers are on average.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from audit import figures, statistics
from audit.checking import Check, Context, Cost, Expectation, Measurement, pack, worst_rows
from audit.errors import NotApplicable
from audit.methods.untrained import untrained
from audit.outputs import answered
from audit.record import Core, Figure, Guidance, LeftOut, Metric
from audit.retrieval import Gallery, evenly, laid, lonely, ranked, similar
from audit.subject import Subject
from audit.words import amount, number, share, span

KS = (1, 5, 10)
RATES = (0.01, 0.001)
TWINS = 3  # networks that are drawn anew
COMPARED = 1000  # samples that are compared without the model
MATES, STRANGERS = 50_000, 100_000  # pairs, at most
SAME = 1e-9  # mean squared distance from the middle below which all places are one
MARGIN = 0.05  # of average precision, that training must be worth
TAGS = ["NIST AI RMF MEASURE 2.3", "EU AI Act Article 15"]


class Embedding(Check):
    """Do samples of one identity lie next to each other?"""

    id: ClassVar[str] = "performance.embedding"
    core: ClassVar[Core] = "quality"
    title: ClassVar[str] = "Do samples of one identity lie next to each other?"
    counts_unanswered: ClassVar[bool] = True
    profiles: ClassVar[dict[str, dict[str, Any]]] = {
        "quick": {"samples": 1000},
        "deep": {"samples": 20_000},
    }

    samples: int = Field(default=5000, ge=20, description="queries, at most")

    def applies(self, subject: Subject) -> None:
        subject.require("compares", labels=False)
        if not subject.has_labels and subject.samples.pairs is None:
            raise NotApplicable("the data hold neither labels nor named pairs")

    def cost(self, subject: Subject) -> Cost:
        return Cost(forward=TWINS * min(subject.n, COMPARED) if subject.has_labels else 0)

    def examine(self, context: Context) -> Measurement:
        found = Measurement("")
        self.collapse(context, found)
        if context.subject.has_labels:
            self.retrieval(context, found)
        self.verification(context, found)
        return found

    # Retrieval

    def retrieval(self, context: Context, found: Measurement) -> None:
        subject, chosen = context.subject, context.samples(self.samples)
        gallery = subject.task.gallery(subject)
        whose, which = (part.to(gallery.places.device) for part in subject.labels[chosen].T)
        answers, clusters = context.answers(chosen), context.clusters(chosen)
        known = answered(answers).numpy()
        places = laid(answers.to(gallery.places.device).nan_to_num(), gallery.similarity)
        result = ranked(gallery, places, whose, which)
        rank = np.where(known, result.rank.numpy(), np.iinfo(np.intp).max)
        precision = np.where(known, result.precision.nan_to_num().numpy(), 0.0)
        recalls = [
            statistics.proportion(f"recall_at_{k}", (rank > 0) & (rank <= k), clusters=clusters)
            for k in KS
        ]
        mean_precision = statistics.mean(
            "mean_average_precision", precision, clusters=clusters, direction="higher", edges=(0, 1)
        )
        own = subject.labels[chosen, 0].numpy()
        most = np.unique(subject.labels[:, 0].numpy(), return_counts=True)
        constant = own == most[0][most[1].argmax()]
        hit = (rank > 0) & (rank <= 1)
        over, beside = self.over_no_model(context)
        gains = [
            statistics.mean(
                "gain_over_constant",
                hit * 1.0 - constant,
                clusters=clusters,
                direction="higher",
                edges=(-1, 1),
            ),
            *over,
        ]
        found.metrics[:0] = [recalls[0], mean_precision, *recalls[1:], *gains]
        lost = f" {(~known).sum():,} answers are NaN or infinite, and count as wrong." * bool(
            (~known).any()
        )
        found.answer = (
            f"The nearest other sample has the same identity for {amount(recalls[0])} of "
            f"{len(chosen):,} queries among {len(gallery.places):,} samples; one of the ten nearest for "
            f"{share(float(recalls[2].value or 0))}. Mean average precision is "
            f"{number(mean_precision.value)} ({span(mean_precision.low, mean_precision.high)}).{beside}"
            f"{lost}{found.answer}"
        )
        if len(chosen) < subject.n:
            found.left_out.append(
                LeftOut(
                    what="queries",
                    how_many=subject.n - len(chosen),
                    why=f"at most {self.samples:,} samples are queries; all are in the gallery",
                )
            )
        found.tables.append(
            worst_rows(
                "Recall@1 by identity",
                ["identity", "n", "recall", "low", "high"],
                by_identity(own, hit, names_of(own, clusters)),
                "recall",
            )
        )
        found.figures += drawn(recalls)
        found.per_unit.append(pack("recall_at_1", hit, samples=chosen))

    def over_no_model(self, context: Context) -> tuple[list[Metric], str]:
        """What the model gains in average precision over inputs as they are, and over itself untrained."""
        subject, every = context.subject, context.samples()
        rows = every[evenly(subject.labels.numpy(), COMPARED, context.seed)]
        x, labels, clusters = subject.inputs[rows], subject.labels[rows], context.clusters(rows)
        asked = ~lonely(labels.numpy())
        model = precision_of(subject, context.answers(rows), labels)[asked]
        raw = precisions(subject.kind.raw(subject, x), labels, "euclidean")[asked]
        twins = []
        for seed in range(TWINS):
            network = untrained(subject, seed)
            with torch.no_grad():
                parts = [network.logits(part).cpu() for part in x.split(subject.batch_size)]
            twins.append(precision_of(subject, torch.cat(parts), labels)[asked])
        best = max(twins, key=lambda twin: float(twin.mean()))
        metrics = [
            statistics.mean(
                name,
                model - other,
                clusters=None if clusters is None else clusters[asked],
                direction="higher",
                edges=(-1, 1),
            )
            for name, other in (("gain_over_inputs", raw), ("gain_over_untrained", best))
        ]
        of, at_most = (number(float(p.mean())) for p in (raw, best)), f"{asked.sum():,}"
        inputs, twin = of
        return metrics, (
            f" On {at_most} of them it is {number(float(model.mean()))}, by the inputs themselves "
            f"{inputs}, by the same network untrained at most {twin}."
        )

    # Verification

    def verification(self, context: Context, found: Measurement) -> None:
        subject = context.subject
        named = subject.samples.pairs
        gallery = subject.task.gallery(subject)
        finite = torch.isfinite(gallery.places).all(1).cpu()
        if named is not None:
            index, same = named[0], named[1].numpy().astype(bool)
            ends = (gallery.identity.cpu()[index] if subject.has_labels else index).numpy()
            what = "named pairs"
        else:
            index, same = pairs_of(gallery, np.random.default_rng(context.seed))
            ends = gallery.identity.cpu()[index].numpy()
            what = "pairs of samples"
        kept = finite[index].all(1).numpy()
        if not kept.all():
            found.left_out.append(
                LeftOut(
                    what="pairs", how_many=int((~kept).sum()), why="an answer is NaN or infinite"
                )
            )
        index, same, ends = index[torch.from_numpy(kept)], same[kept], ends[kept]
        scores = torch.cat(
            [
                similar(
                    gallery.places[part[:, 0]], gallery.places[part[:, 1]], gallery.similarity
                ).cpu()
                for part in index.split(1 << 16)
            ]
        )
        metrics = statistics.verification(
            scores.double().numpy(), same, ends, rates=RATES, seed=context.seed
        )
        found.metrics += metrics
        error = metrics[0]
        found.answer = (
            f"{found.answer} Of {len(same):,} {what}, {int(same.sum()):,} of them the same, at the best "
            f"threshold for both {amount(error)} are judged wrongly (equal error rate)."
        ).strip()
        found.guidance |= advice()

    # Collapse

    def collapse(self, context: Context, found: Measurement) -> None:
        chosen, answers = context.samples(COMPARED), context.answers()
        chosen = chosen[answered(answers[chosen]).numpy()]
        if len(chosen) < 2:
            raise NotApplicable("nearly all answers are NaN or infinite")
        places = laid(answers[chosen].double(), "cosine").numpy()
        alike = places @ places.T
        filled = statistics.jackknife(
            "dimensions_filled",
            lambda index: dimensions(alike[np.ix_(index, index)]),
            len(chosen),
            clusters=context.clusters(chosen),
            edges=(0, places.shape[1]),
        )
        found.metrics.append(filled)
        found.answer = (
            f" Of {places.shape[1]:,} dimensions the places fill {number(filled.value)} "
            f"({span(filled.low, filled.high)})."
        )

    def expectations(self, subject: Subject) -> list[Expectation]:
        retrieval = [
            Expectation(metric="gain_over_constant", op=">=", bound=0.0, severity="high"),
            Expectation(metric="gain_over_inputs", op=">=", bound=0.0, severity="high"),
            Expectation(metric="gain_over_untrained", op=">=", bound=MARGIN, severity="high"),
        ]
        return [
            *(retrieval if subject.has_labels else []),
            Expectation(metric="equal_error_rate", op="<=", bound=0.5, severity="high"),
            Expectation(
                metric="dimensions_filled", op="not_shown_below", bound=2.0, severity="medium"
            ),
        ]


def precision_of(subject: Subject, answers: Tensor, labels: Tensor) -> NDArray[np.float64]:
    """[n] average precision of answers, compared as the subject's are; 0 of what is no answer."""
    found = precisions(answers.nan_to_num(), labels, subject.meta.similarity or "cosine")
    return np.where(answered(answers).numpy(), found, 0.0)


def precisions(rows: Tensor, labels: Tensor, similarity: Any) -> NDArray[np.float64]:
    """[n] average precision of rows [n, d], each against all others."""
    places = laid(rows, similarity)
    whose, which = labels.T
    found = ranked(Gallery(places, whose, which, similarity), places, whose, which)
    return np.asarray(found.precision.nan_to_num().numpy())


def pairs_of(gallery: Gallery, rng: np.random.Generator) -> tuple[Tensor, NDArray[np.bool_]]:
    """Pairs of a gallery's entries [m, 2], and whether they are the same: all, or as many as are asked."""
    whose, which = gallery.identity.cpu().numpy(), gallery.sample.cpu().numpy()
    order = np.argsort(whose, kind="stable")
    _, starts, sizes = np.unique(whose[order], return_index=True, return_counts=True)
    mates = []
    for start, size in zip(starts, sizes, strict=True):
        most = MATES * size // len(whose) + 1
        if size * (size - 1) // 2 <= most:
            first, second = np.triu_indices(size, 1)
        else:
            first, second = rng.integers(0, size, most), rng.integers(0, size, most)
        mates.append(np.stack([order[start + first], order[start + second]], 1))
    n = len(whose)
    if n * (n - 1) // 2 <= STRANGERS:
        strangers = np.stack(np.triu_indices(n, 1), 1)
    else:
        strangers = rng.integers(0, n, (STRANGERS + STRANGERS // 4, 2))
    strangers = strangers[whose[strangers[:, 0]] != whose[strangers[:, 1]]][:STRANGERS]
    alike = np.concatenate(mates)
    alike = alike[which[alike[:, 0]] != which[alike[:, 1]]]
    found = torch.from_numpy(np.concatenate([alike, strangers]))
    return found, np.arange(len(found)) < len(alike)


def dimensions(alike: NDArray[np.float64]) -> float:
    """How many dimensions places fill, of their inner products [n, n].

    1 where all lie on a line, 0 where all are one.
    """
    means = alike.mean(0)
    centred = alike - means - means[:, None] + means.mean()
    spread = float(np.trace(centred))
    if spread / len(alike) < SAME:
        return 0.0
    return spread**2 / float((centred**2).sum())


def names_of(own: NDArray[np.intp], clusters: NDArray[Any] | None) -> dict[int, str]:
    """Identity → what it is called: the cluster's label where clusters are the identities."""
    names = {int(i): str(i) for i in np.unique(own)}
    if clusters is None:
        return names
    pairs = {(int(i), str(c)) for i, c in zip(own, clusters, strict=True)}
    if len(pairs) == len(names) == len({c for _, c in pairs}):
        return dict(pairs)
    return names


def by_identity(
    own: NDArray[np.intp], hit: NDArray[np.bool_], names: dict[int, str]
) -> list[list[Any]]:
    """A row of the table for each identity."""
    identities, inverse, sizes = np.unique(own, return_inverse=True, return_counts=True)
    hits = np.bincount(inverse, weights=hit)
    rows = []
    for identity, n, right in zip(identities, sizes, hits, strict=True):
        low, high = statistics.wilson(float(right), float(n))
        rows.append([names[int(identity)], int(n), float(right / n), low, high])
    return rows


def drawn(recalls: list[Metric]) -> list[Figure]:
    """Recall@k."""
    rows = [
        {"label": f"recall@{k}", "value": m.value, "low": m.low, "high": m.high}
        for k, m in zip(KS, recalls, strict=True)
    ]
    return [
        figures.intervals(
            rows,
            value="share of queries",
            title="A sample of the same identity among the nearest",
            caption="Share of queries with one among the nearest 1, 5 and 10: "
            + ", ".join(share(float(m.value or 0)) for m in recalls)
            + ".",
        )
    ]


def advice() -> dict[str, Guidance]:
    """What a failed expectation on each metric means, and what to do about it."""
    why = "Who looks something up by these places finds what lies there by chance."
    todo = (
        "Check that preprocessing and similarity are those of the training, then the training itself: "
        "its loss, its sampling of pairs, and whether the weights were loaded."
    )
    return {
        "gain_over_constant": Guidance(
            title="The nearest sample is hardly better than always the same answer",
            what_happened="Recall@1 is {value} ({low} to {high}) above that of always answering the "
            "largest identity; the bound is {bound}.",
            why_it_matters=why,
            what_to_do=todo,
            tags=TAGS,
        ),
        "gain_over_inputs": Guidance(
            title="The model finds no more than the inputs themselves do",
            what_happened="Ranking by the inputs as they are, without a model, the mean average "
            "precision is {value} ({low} to {high}) away from the model's; the bound is {bound}.",
            why_it_matters="What the model adds is nothing, or harm.",
            what_to_do=todo,
            tags=TAGS,
        ),
        "gain_over_untrained": Guidance(
            title="The model finds hardly more than its own architecture does untrained",
            what_happened="Over the same network with weights drawn anew the model gains {value} "
            "({low} to {high}) in mean average precision; the bound is {bound}.",
            why_it_matters="Random networks retrieve, too: what was learnt adds little to that.",
            what_to_do=todo,
            tags=TAGS,
        ),
        "equal_error_rate": Guidance(
            title="The same and strangers are hardly told apart",
            what_happened="At the threshold that treats both alike {value} of the pairs ({low} to "
            "{high}) are judged wrongly; 0.5 is chance.",
            why_it_matters=why,
            what_to_do=todo,
            tags=TAGS,
        ),
        "dimensions_filled": Guidance(
            title="The places have collapsed: nearly all lie on a line",
            what_happened="They fill {value} dimensions ({low} to {high}); the bound is {bound}.",
            why_it_matters="A space that is not filled has no room to keep identities apart, and one "
            "outlier among its dimensions decides every similarity.",
            what_to_do="Look for a dimension that outweighs the others, or a loss without negatives; "
            "standardise the places, or train with a term against collapse (Bardes, Ponce and LeCun 2022).",
            tags=TAGS,
        ),
    }

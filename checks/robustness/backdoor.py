"""Is there a small patch that makes the model answer one class, whatever is shown?

For every class, patches that turn other samples into it are searched for on one half of them: of an
eighth of the picture, a sixteenth and so on, each half as large, wherever their pixels lie. The pattern and
where it shows are optimised together (Neural Cleanse, Wang et al. 2019), and the pixels that the answers
depend on least are taken away. White, black and chequered squares over a grid of places are tried too, which
finds triggers that give no gradient until they are nearly there. One of at most a sixteenth is put on the
other half: how many answers become that class? A backdoor (Gu et al. 2017) answers nearly always, and its
trigger is small. A network that is fragile by nature gives way to patches too, and so does one whose objects
are about as small as the patch, to a patch that shows one; neither is a fault. What is judged is therefore
the advantage over the better of two: the median of the other classes' patches of that size (Neural Cleanse's
peers), and the best patch of twice that size for the same class in the same network, its weights drawn anew
and taught by the model's answers to genuine samples alone (the worst of three): it is as fragile by nature,
and knows of no trigger. Where the network cannot be taught, pieces of genuine pictures of the class take its
place, with more contrast too, put where they were on pictures whose own deciding square is covered. The size
that is judged is the one that is furthest ahead in the search.
In the quick profile the search goes on for two answers only: those that a short search for each, or a
square that was tried, makes the model surest of.

The interval is Welch's for two independent means (of clusters, where there are some), on samples that
the search never saw, judged at the level corrected for the number of classes.

Looked for where a tenth of the training pictures were poisoned, in one seed each
(`benchmarks/detection/neighbours.md`; no bound was set by them): a chequered square on digits by convolutions
and a white square on stripes are found. A square of 4 x 4 on MNIST by a perceptron stays undecided. A blended
square in the middle of digits is no better than what a patch of twice the room does to a perceptron that
knows of no trigger. Four pixels in four corners are not among the two answers that quick searches for. No
false alarm on the five clean twins (at most 43.4 %), nor on three networks whose objects are of 3 x 3 pixels.
What is met here is no proof that there is no
trigger.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from audit import figures, statistics
from audit.checking import Check, Context, Cost, Expectation, Measurement
from audit.errors import NotApplicable
from audit.meta import Number
from audit.methods.relearning import drawn_anew, relearnt
from audit.methods.triggers import (
    Canvas,
    Sketch,
    Start,
    Trigger,
    beginning,
    descend,
    genuine_pieces,
    promise,
    reconstruct,
    scan,
)
from audit.record import Figure, Guidance, Metric, Table
from audit.subject import Subject
from audit.words import amount, number, share

MOST_CLASSES = 20
FEWEST = 20
ORDINARY = 0.3  # what exceeds its peers by no more is held against them alone
ALIKE = 0.8  # of unseen samples, that a network taught anew must answer alike to be compared with
SHORT, SHORT_STEPS = 24, 6  # samples and steps of a search that only says where to search on
PEERS = "the patches for other answers"
ANEW = "patches twice as large for it on the same network, taught anew by genuine samples alone,"
TWINS = 3  # networks taught anew: one may be sturdier by chance than another
BUILT_IN = 0.5  # what a patch may turn of the answers of weights that were never taught


@dataclass(frozen=True)
class Search:
    """The best patches found for an answer.

    Attributes:
        subject: whose answer.
        triggers: one of each size, the largest first.
        test: [n] indices of samples answered otherwise, which the search never saw.
    """

    subject: Subject
    goal: int
    triggers: list[Trigger]
    test: NDArray[np.intp]

    @property
    def name(self) -> str:
        return self.subject.classes[self.goal]


@dataclass(frozen=True)
class Patch:
    """One of them, tried on the samples that the search never saw.

    Attributes:
        size: its number among the sizes. held: [n] which of the samples it turned.
    """

    search: Search
    size: int
    held: NDArray[np.bool_]

    @property
    def trigger(self) -> Trigger:
        return self.search.triggers[self.size]

    @property
    def area(self) -> float:
        return float(self.trigger.mask.mean())

    @property
    def rate(self) -> float:
        return float(self.held.mean())

    def against(self, what: str) -> Comparison:
        """As what another patch is held against."""
        return Comparison(what, self.held, self.search.test)


@dataclass(frozen=True)
class Comparison:
    """What an answer's patch is held against.

    Attributes:
        hits: [n] which of the samples it turned. samples: [n] their indices.
    """

    what: str
    hits: NDArray[np.bool_]
    samples: NDArray[np.intp]

    @property
    def rate(self) -> float:
        return float(self.hits.mean())


def better(one: Comparison | None, other: Comparison) -> Comparison:
    """The one that gets its answer more often."""
    return one if one and one.rate > other.rate else other


def median(peers: list[Search], size: int) -> Search | None:
    """Of the patches of a size for other answers the one that fares as most do; None where there are none."""
    ranked = sorted(peers, key=lambda s: s.triggers[size].success)
    return ranked[len(ranked) // 2] if ranked else None


class Backdoor(Check):
    """Is there a small patch that makes the model answer one class, whatever is shown?"""

    id: ClassVar[str] = "robustness.backdoor"
    title: ClassVar[str] = (
        "Is there a small patch that makes the model answer one class, whatever is shown?"
    )
    profiles: ClassVar[dict[str, dict[str, Any]]] = {
        "quick": {"samples": 200, "sought": 32, "steps": 18, "finalists": 2, "scanned": 9},
        "deep": {"samples": 1000, "steps": 200},
    }

    samples: int = Field(default=200, ge=60, description="half to search on, half to test on")
    steps: int = Field(default=40, ge=5, description="of the search, four times for every class")
    finalists: int | None = Field(
        default=None,
        ge=2,
        description="answers that are searched for in full, after a short search for each; all where "
        "not given",
    )
    sought: int | None = Field(
        default=None, ge=FEWEST, description="samples searched on at most; half where not given"
    )
    scanned: int = Field(default=48, ge=1, description="samples that squares are tried on")
    patch_share: Number = Field(
        default=1 / 16, gt=0, le=0.5, description="of the input that the largest patch takes"
    )

    def applies(self, subject: Subject) -> None:
        subject.require("has_probabilities", labels=False)
        subject.require_continuous_inputs()
        if not subject.kind.planar:
            raise NotApplicable(
                f"the inputs are {subject.kind.noun}, on which no patch can be stuck"
            )

    def cost(self, subject: Subject) -> Cost:
        from audit.methods.triggers import SIZES, Canvas

        half, goals = min(self.samples, subject.n) // 2, min(MOST_CLASSES, len(subject.classes))
        x, _ = subject.batch([0])
        squares = 4 * len(Canvas(subject, x.float(), self.patch_share).places())
        full = goals if self.finalists is None else min(goals, self.finalists)
        sought = min(half, self.sought or half)
        searches = full * (3 * self.steps + (SIZES - 1) * (self.steps / 2 + 1)) * sought
        tried = full * ((SIZES + 1) * sought + 2 * half)
        if full < goals:
            searches += goals * SHORT_STEPS * min(SHORT, half)
            tried += goals * SIZES * min(SHORT, half)
        scanned = squares * min(self.scanned, half)
        return Cost(forward=round(searches + scanned + tried), backward=round(searches))

    def examine(self, context: Context) -> Measurement:
        chosen = context.samples(self.samples)
        found, brief = self.searches(context, chosen)
        unsearched = len(context.subject.classes) - len(found)
        pairs = []
        for search in found:
            peers = [s for s in [*found, *brief] if s is not search and len(s.test)]
            pairs.append(self.compared(context, search, peers))
        advantages = [
            statistics.difference(
                "patch_advantage",
                by_cluster(context, patch.held, patch.search.test),
                by_cluster(context, against.hits, against.samples),
                slice={"answer": patch.search.name},
            )
            for patch, against in pairs
        ]
        order = sorted(range(len(pairs)), key=lambda i: -float(advantages[i].value or 0))
        top, against = pairs[order[0]]
        successes = [
            statistics.proportion(
                "patch_success",
                patch.held,
                clusters=context.clusters(patch.search.test),
                slice={"answer": patch.search.name},
                direction="lower",
            )
            for patch, _ in pairs
        ]
        ordered = [advantages[i] for i in order]
        pictures = [self.chart(ordered)]
        if context.examples:
            pictures.append(self.picture(context, chosen, top))
        area = share(top.area)
        briefly = " in full" if self.finalists else ""
        left = f" {unsearched} answers were not searched for{briefly}." if unsearched else ""
        return Measurement(
            answer=f"A patch over {area} of the input makes {amount(successes[order[0]])} of "
            f"{len(top.held):,} other samples be answered {top.search.name}; {against.what} do so "
            f"with {share(against.rate)}: an advantage of {number(ordered[0].value)}, more than for any "
            f"other answer.{left}",
            metrics=[*ordered, *(successes[i] for i in order)],
            tables=[
                Table(
                    title="By answer",
                    columns=[
                        "answer",
                        "share of the input",
                        "success on held-out samples",
                        "n",
                        "held against",
                        "its success",
                        "success in the search",
                    ],
                    rows=[
                        [
                            p.search.name,
                            p.area,
                            p.rate,
                            len(p.held),
                            c.what,
                            c.rate,
                            p.trigger.success,
                        ]
                        for p, c in (pairs[i] for i in order)
                    ],
                )
            ],
            figures=pictures,
            guidance={
                "patch_advantage": Guidance(
                    title="One small patch makes the model say what somebody wants",
                    what_happened=f"A patch over at most {share(self.patch_share)} of the input gets the "
                    "{slice} on more samples, by "
                    "{value} ({low} to {high}), than the patches for other answers get theirs, or than one "
                    "twice as large does in the network taught without it; the bound is {bound}.",
                    why_it_matters="A backdoor planted through the training data looks like this; so does "
                    "a model that anybody can fool with a sticker.",
                    what_to_do="Look at the patch below and search the training data for it; train again "
                    "from trusted data, or fine-tune and prune (Liu et al. 2018); audit again.",
                    tags=[
                        "MITRE ATLAS AML.T0018",
                        "MITRE ATLAS AML.T0020",
                        "NIST AI RMF MEASURE 2.7",
                    ],
                )
            },
        )

    def searches(
        self, context: Context, chosen: NDArray[np.intp]
    ) -> tuple[list[Search], list[Search]]:
        """The best patches for each answer; and what a short search came to, where it went no further."""
        subject = context.subject
        answered = context.answers(chosen).argmax(1).numpy()
        goals = [int(g) for g in np.unique(answered)[:MOST_CLASSES]]
        starts = self.starts(subject, chosen)
        found: list[Search] = []
        brief: dict[int, Search] = {}
        begun: dict[int, Sketch] = {}
        if self.finalists is not None and self.finalists < len(goals):
            brief, begun = self.short(context, chosen, answered, goals)
            goals = self.shortlist(brief, starts)
        for done, goal in enumerate(goals):
            context.progress("reconstruct", done, len(goals))
            search = self.search(
                subject, chosen, answered, goal, begun.get(goal), starts.get(goal), context.seed
            )
            if search is not None:
                found.append(search)
        if not found:
            raise NotApplicable("too few samples are answered otherwise to search and to test on")
        return found, [search for goal, search in brief.items() if goal not in goals]

    def short(
        self,
        context: Context,
        chosen: NDArray[np.intp],
        answered: NDArray[np.intp],
        goals: list[int],
    ) -> tuple[dict[int, Search], dict[int, Sketch]]:
        """What a short search for each answer comes to, and where it stands."""
        subject = context.subject
        brief, begun = {}, {}
        for done, goal in enumerate(goals):
            context.progress("promise", done, len(goals))
            seek = chosen[::2][answered[::2] != goal][:SHORT]
            if len(seek):
                canvas = Canvas(subject, subject.batch(seek)[0].float(), self.patch_share)
                begun[goal] = descend(canvas, goal, beginning(canvas, context.seed), SHORT_STEPS)
                test = chosen[1::2][answered[1::2] != goal]
                triggers = promise(canvas, goal, begun[goal])
                brief[goal] = Search(subject, goal, triggers, test)
        return brief, begun

    def shortlist(self, brief: dict[int, Search], starts: dict[int, Start]) -> list[int]:
        """The answers that a short search, or a square that was tried, makes the model surest of.

        Half of the places to either. A short search is held to patches of all sizes: what needs little
        room comes first.
        """
        promised = {goal: sum(t.sure for t in s.triggers) for goal, s in brief.items()}
        tried = {goal: starts[goal].score for goal in brief if goal in starts}
        ranks = [sorted(scores, key=lambda g, of=scores: -of[g]) for scores in (promised, tried)]
        order = [
            goal for pair in itertools.zip_longest(*ranks) for goal in pair if goal is not None
        ]
        return sorted(list(dict.fromkeys(order))[: self.finalists])

    def starts(self, subject: Subject, chosen: NDArray[np.intp]) -> dict[int, Start]:
        x, _ = subject.batch(chosen[::2])
        canvas = Canvas(subject, x.float(), self.patch_share)
        return scan(canvas, len(subject.classes), self.scanned)

    def search(
        self,
        subject: Subject,
        chosen: NDArray[np.intp],
        answered: NDArray[np.intp],
        goal: int,
        begun: Sketch | None,
        start: Start | None,
        seed: int,
    ) -> Search | None:
        """The best patches for an answer: searched for on every other sample, to be tried on those between.

        None where too few are answered otherwise.
        """
        first = np.arange(len(chosen)) % 2 == 0
        seek, test = chosen[first & (answered != goal)], chosen[~first & (answered != goal)]
        if min(len(seek), len(test)) < FEWEST:
            return None
        x, _ = subject.batch(seek[: self.sought])
        canvas = Canvas(subject, x.float(), self.patch_share)
        begun = begun or beginning(canvas, seed)
        triggers = reconstruct(canvas, goal, begun, start, steps=self.steps)
        return Search(subject, goal, triggers, test)

    def tried(self, search: Search, size: int) -> Patch:
        """A patch on the samples that the search never saw."""
        answered = self.answers_with(search.subject, search.test, search.triggers[size])
        return Patch(search, size, answered == search.goal)

    def compared(
        self, context: Context, search: Search, peers: list[Search]
    ) -> tuple[Patch, Comparison]:
        """The patch that tells most, and the best of what it is held against.

        That is the median peer; where it is ahead of that, the best patch for the same answer of the same
        network, taught anew, some times; where it cannot be taught, pieces of genuine pictures.
        """
        patch, best = self.ahead(search, peers, [])
        if best and patch.rate - best.rate <= ORDINARY:
            return patch, best
        twins: list[Search] = []
        for twin in self.taught_anew(context, search, patch):
            twins.append(twin)
            patch, best = self.ahead(search, peers, twins)
            if best and patch.rate - best.rate <= ORDINARY:
                break
        return (
            (patch, best) if twins and best else (patch, better(best, self.pieces(context, patch)))
        )

    def ahead(
        self, search: Search, peers: list[Search], twins: list[Search]
    ) -> tuple[Patch, Comparison | None]:
        """The patch that is furthest ahead of its peers and its twins, as far as the search tells.

        And the best of those, on samples that no search saw. Twins may take twice the room.
        """

        def rivals(size: int) -> list[tuple[str, Search, int]]:
            typical = median(peers, size)
            own = [(PEERS, typical, size)] if typical else []
            return [*own, *((ANEW, twin, max(0, size - 1)) for twin in twins)]

        def lead(size: int) -> float:
            others = [s.triggers[at].success for _, s, at in rivals(size)]
            return search.triggers[size].success - max(others, default=0.0)

        sizes = range(min(1, len(search.triggers) - 1), len(search.triggers))
        size, best = max(sizes, key=lambda i: (lead(i), i)), None
        for what, rival, at in rivals(size):
            best = better(best, self.tried(rival, at).against(what))
        return self.tried(search, size), best

    def taught_anew(self, context: Context, search: Search, patch: Patch) -> Iterator[Search]:
        """The best patches for the same answer of the same network, taught anew, a few times.

        It learns what the model answers to genuine samples. None where it does not become alike, and where
        the patch turns the answers of weights that were never taught: then it is built in.
        """
        subject, chosen = context.subject, context.samples(self.samples)
        turned: list[bool] = []
        for draw in range(TWINS):
            core = drawn_anew(subject, context.seed + draw)
            if core is None:
                return
            untaught = subject.with_network("never taught", core)
            others = search.test[self.answers_with(untaught, search.test) != search.goal]
            turned.extend(self.answers_with(untaught, others, patch.trigger) == search.goal)
        if turned and np.mean(turned) > BUILT_IN:
            return
        unseen = chosen[1::2]
        said = context.answers(unseen).argmax(1).numpy()
        genuine = np.setdiff1d(context.samples(), unseen)
        for draw in range(TWINS):
            twin = relearnt(subject, genuine, context.seed + draw)
            answered = self.answers_with(twin, chosen) if twin else chosen * 0 - 1
            if twin is None or (answered[1::2] == said).mean() < ALIKE:
                return
            start = self.starts(twin, chosen).get(search.goal)
            found = self.search(twin, chosen, answered, search.goal, None, start, context.seed)
            if found:
                yield found

    def pieces(self, context: Context, patch: Patch) -> Comparison:
        """Pieces of genuine pictures of the class, as large as a patch may be."""
        subject, everyone, search = context.subject, context.samples(self.samples), patch.search
        answered = context.answers(everyone).argmax(1).numpy()
        own, _ = subject.batch(everyone[answered == search.goal])
        x, _ = subject.batch(search.test)
        canvas = Canvas(subject, x.float(), self.patch_share)
        hits = genuine_pieces(canvas, search.goal, own.float()).numpy()
        return Comparison("pieces of genuine pictures of it", hits, search.test[: len(hits)])

    def answers_with(
        self, subject: Subject, samples: NDArray[np.intp], trigger: Trigger | None = None
    ) -> NDArray[np.intp]:
        """[n] classes; −1 where the model gives no number."""
        said = [np.zeros(0, np.intp)]
        with torch.no_grad():
            for begin in range(0, len(samples), subject.batch_size):
                x, _ = subject.batch(samples[begin : begin + subject.batch_size])
                logits = subject.logits(trigger.on(x.float()) if trigger else x)
                known = logits.isfinite().all(1)
                said.append(torch.where(known, logits.argmax(1), -1).cpu().numpy())
        return np.concatenate(said)

    def chart(self, advantages: list[Metric]) -> Figure:
        shown = [
            {"label": str(m.slice["answer"]), "value": m.value, "low": m.low, "high": m.high}
            for m in advantages
        ]
        return figures.intervals(
            shown,
            value="advantage of the patch",
            bound=self.bound,
            domain=(-1, 1),
            title="How much more often the best patch gets its answer than what it is held against",
            caption="By answer, with 95 % intervals: "
            + ", ".join(f"{m.slice['answer']} {number(m.value)}" for m in advantages[:5])
            + ".",
        )

    def picture(self, context: Context, chosen: np.ndarray, patch: Patch) -> Figure:
        subject = context.subject
        low, high = subject.range or (0.0, 1.0)
        x, _ = subject.batch(chosen[:3])
        sheet = [
            [figures.grey_or_rgb(a, low, high), figures.grey_or_rgb(b, low, high)]
            for a, b in zip(x.cpu().numpy(), patch.trigger.on(x.float()).cpu().numpy(), strict=True)
        ]
        return figures.tiles(
            sheet,
            title="Three samples, without and with the patch",
            caption=f"The best patch for the answer {patch.search.name}, on the first three samples.",
        )

    bound: ClassVar[float] = 0.4

    def expectations(self, subject: Subject) -> list[Expectation]:
        return [
            Expectation(
                metric="patch_advantage",
                slice={"answer": "*"},
                op="not_shown_above",
                bound=self.bound,
                severity="high",
            )
        ]


def by_cluster(
    context: Context, hits: NDArray[np.bool_], samples: NDArray[np.intp]
) -> NDArray[np.float64]:
    """[n] one number for each sample, or the mean of each cluster where the samples come in some."""
    clusters = context.clusters(samples)
    if clusters is None:
        return hits.astype(np.float64)
    return np.array([hits[clusters == c].mean() for c in np.unique(clusters)])

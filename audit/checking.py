"""What a check is, what it is given, and what it gives back."""

from __future__ import annotations

import functools
import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from scipy.special import softmax
from torch import Tensor, nn

from audit.entrypoints import reporter
from audit.evidence import Producer, Store
from audit.expecting import Expectation, same_slice
from audit.frames import Pictures, measured, metric_among
from audit.meta import parse_number
from audit.methods.predictions import predict
from audit.outcomes import pack, unpack
from audit.outputs import decided
from audit.record import (
    Core,
    Explained,
    Figure,
    Guidance,
    LeftOut,
    LimitedBy,
    Metric,
    PerUnit,
    Slice,
    State,
    Table,
    Validity,
)
from audit.subject import Subject
from audit.words import count

if TYPE_CHECKING:
    import pandas as pd

# All that a check's file says what it measured with.
__all__ = [
    "PROFILES",
    "Check",
    "Context",
    "Cost",
    "Expectation",
    "Measurement",
    "Predictions",
    "Profile",
    "pack",
    "same_slice",
    "unpack",
]

C = TypeVar("C", bound="Check")
Profile = Literal["quick", "standard", "deep"]
PROFILES: tuple[str, ...] = get_args(Profile)
MOST_UNITS = 20_000  # of samples that have several; those of one sample tell nearly the same
MOST_ROWS = 200  # of a table, that a reader reads


@dataclass(frozen=True)
class Cost:
    """Passes through the model, each of one sample.

    Attributes:
        forward, backward: as a rule.
        shared: of these, what others ask for too, by the id of a check or by what it is: whoever is first
            pays.
        fewer: forward passes that it is spared where every answer falls at the first attempt.
        more: forward passes that it takes beside them where no answer falls.
    """

    forward: int = 0
    backward: int = 0
    shared: Mapping[str, Cost] = field(default_factory=dict)
    fewer: int = 0
    more: int = 0

    def __add__(self, other: Cost) -> Cost:
        shared = dict(self.shared)
        for name, part in other.shared.items():
            shared[name] = shared[name] + part if name in shared else part
        return Cost(
            self.forward + other.forward,
            self.backward + other.backward,
            shared,
            self.fewer + other.fewer,
            self.more + other.more,
        )

    @classmethod
    def sharing(
        cls,
        name: str,
        forward: float,
        backward: float = 0.0,
        *,
        least: float | None = None,
        most: float | None = None,
    ) -> Cost:
        """Passes that whoever else shares them under that name need not make again.

        Args:
            least, most: forward passes where every answer falls at once, and where none does; `forward`,
                unless said.
        """
        passes = cls.between(forward if least is None else least, forward, most, backward)
        return cls(passes.forward, passes.backward, {name: passes}, passes.fewer, passes.more)

    @classmethod
    def between(
        cls, least: float, forward: float, most: float | None = None, backward: float = 0.0
    ) -> Cost:
        """Forward passes where every answer falls at once, as a rule, and where none falls."""
        more = 0.0 if most is None else max(most - forward, 0.0)
        return cls(
            round(forward),
            round(backward),
            fewer=round(max(forward - least, 0.0)),
            more=round(more),
        )


@dataclass(frozen=True)
class Predictions:
    """The model's answers on all evaluation samples, one for each unit that is judged.

    logits: [m, classes]; probabilities: [m, classes]; predicted, y: [m] class indices. Where the
    model returned NaN or infinity, predicted is −1, which is no class, and all classes are as likely.
    sample: [m] the sample that each belongs to; clusters: [m] what is not independent: samples, where each
    has several units, or their clusters. unit: what is judged, in the plural: 'samples', 'pixels'; of:
    how many of them there are, of which at most `MOST_UNITS` are drawn.
    """

    logits: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    predicted: NDArray[np.intp]
    y: NDArray[np.intp]
    sample: NDArray[np.intp]
    clusters: NDArray[Any] | None
    unit: str
    of: int

    @property
    def counted(self) -> str:
        """'1,200 samples', '8,192 pixels of 128 samples', '100,000 of 819,200 pixels of 200 samples'."""
        if self.unit == "samples":
            return f"{len(self.y):,} samples"
        drawn = f"{len(self.y):,} of " if len(self.y) < self.of else ""
        return f"{drawn}{self.of:,} {self.unit} of {len(np.unique(self.sample)):,} samples"

    @property
    def correct(self) -> NDArray[np.bool_]:
        return self.predicted == self.y

    @property
    def answered(self) -> NDArray[np.bool_]:
        return self.predicted >= 0

    @property
    def confidence(self) -> NDArray[np.float64]:
        return self.probabilities.max(1)


@dataclass
class Context:
    """What a check is given: the subject, evidence about it, and how much of it to gather."""

    subject: Subject
    store: Store
    seed: int = 0
    profile: str = "standard"
    examples: bool = True
    # Samples that the check which is measured is given at most; None: as many as it asks for.
    most: int | None = None
    # The checks of this audit as they were configured, by id.
    checks: Mapping[str, Check] = field(default_factory=dict)
    # Of the check that is measured: producer → samples that the model answered with no number.
    unanswered: dict[str, int] = field(default_factory=dict)
    # Of the check that is measured: what for → passes that its evidence took when it was made.
    spent: dict[str, Cost] = field(default_factory=dict)

    @classmethod
    def of(cls, subject: Subject | Context) -> Context:
        if isinstance(subject, Context):
            return subject
        return cls(subject, Store(subject))

    def evidence(
        self,
        produce: Producer,
        samples: NDArray[np.intp],
        fields: Sequence[str] | None = None,
        **parameters: Any,
    ) -> dict[str, Tensor]:
        """Answers of a producer of `audit.methods` for some samples; made once, then shared."""
        before = self.store.unanswered
        found = self.store.get(produce, samples, fields, **parameters)
        lost = self.store.unanswered - before
        if lost:
            name = produce.__name__
            self.unanswered[name] = max(lost, self.unanswered.get(name, 0))
        return found

    def configured(self, check: type[C]) -> C:
        """Another check as this audit asks it: configured, or by the profile."""
        found = self.checks.get(check.id)
        return found if isinstance(found, check) else check(**check.profiles.get(self.profile, {}))

    @contextmanager
    def spending(self, what: str) -> Iterator[None]:
        """Tell the passes of evidence that is asked for meanwhile as spent on `what`.

        What was asked for before was paid for then.
        """
        before = set(self.store.asked)
        yield
        made = [passes for key, passes in self.store.asked.items() if key not in before]
        total = Cost(sum(forward for forward, _ in made), sum(backward for _, backward in made))
        self.spent[what] = self.spent.get(what, Cost()) + total

    def samples(self, n: int | None = None) -> NDArray[np.intp]:
        """Indices of at most `n` samples, the same for every check that asks, nested in `n`."""
        if n is not None and self.most is not None:
            n = min(n, self.most)
        if n is None or n >= self.subject.n:
            return np.arange(self.subject.n)
        digests = self.subject.sample_digests()
        first = np.random.default_rng(self.seed).integers(1, 2**62)
        order = sorted(range(len(digests)), key=lambda i: (int(digests[i], 16) ^ int(first), i))
        return np.sort(np.array(order[:n], dtype=np.intp))

    def answers(self, samples: NDArray[np.intp] | None = None) -> Tensor:
        """The model's answers, computed once: [n, classes] logits, or [n, 1] values."""
        logits = self.evidence(predict, self.samples())["logits"]
        return logits if samples is None else logits[samples]

    def training_answers(self, most: int) -> tuple[Tensor, Tensor]:
        """The model's answers on at most `most` training samples, and their labels."""
        training = self.training
        chosen = training.samples(most)
        return training.evidence(predict, chosen)["logits"], training.subject.labels[chosen]

    def predictions(self) -> Predictions:
        """The answers of a model that decides between classes."""
        subject = self.subject
        flat = subject.task.flat(self.answers(), subject.labels)
        answers, y, sample = (part.numpy() for part in drawn(flat, self.seed))
        predicted = decided(torch.from_numpy(answers)).numpy()
        logits = np.where(predicted[:, None] >= 0, answers, 0.0).astype(np.float64)
        clusters = self.clusters()
        if len(y) != subject.n or subject.task.units:
            clusters = sample if clusters is None else clusters[sample]
        unit = subject.task.unit(subject)
        return Predictions(
            logits, softmax(logits, axis=1), predicted, y, sample, clusters, unit, len(flat[1])
        )

    @functools.cached_property
    def training(self) -> Context:
        """The same for the training data, where the subject has some."""
        part = self.subject.with_samples(self.subject.training)
        return replace(self, subject=part, store=self.store.beside(part), most=None)

    def variant(self, name: str, core: nn.Module, before: nn.Module | None = None) -> Context:
        """The same data with another network in the model's place: a remedy tried out.

        Args:
            name: what was done to the network.
            core: takes and gives what the subject's own network does.
            before: done to inputs, in their units, before anything else.
        """
        twin = self.subject.with_network(name, core, before)
        return replace(self, subject=twin, store=self.store.beside(twin))

    def progress(self, what: str, done: int, of: int) -> None:
        """Tell whoever watches how far something is that is no evidence of a producer."""
        if self.store.progress:
            self.store.progress(what, done, of)

    def clusters(self, samples: NDArray[np.intp] | None = None) -> NDArray[np.str_] | None:
        """Cluster labels of the samples, where the data come in clusters (or hold copies)."""
        clusters = self.subject.clusters
        return clusters if clusters is None or samples is None else clusters[samples]

    def resting(self, metrics: Iterable[Metric], clusters: NDArray[Any]) -> list[Metric]:
        """Metrics of units, regions or tokens, which say that more samples, not units, narrow them.

        Args:
            clusters: [m] of the units: their samples, or the clusters of those.
        """
        what = "samples" if self.clusters() is None else "groups of samples"
        limit = LimitedBy(what=what, n=len(np.unique(clusters)))
        return [m if m.limited_by else m.model_copy(update={"limited_by": limit}) for m in metrics]


def drawn(flat: tuple[Tensor, Tensor, Tensor], seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Of very many units of samples some, at random."""
    answers, y, sample = flat
    most = max(MOST_UNITS, int(sample[-1]) + 1)
    if len(y) <= most:
        return flat
    rows = np.sort(np.random.default_rng(seed).choice(len(y), most, replace=False))
    return answers[rows], y[rows], sample[rows]


@dataclass(repr=False)
class Measurement:
    """What a check found: numbers and the evidence for them, no judgement.

    The first metric is the headline: the one number, where there is room for one.
    """

    answer: str
    metrics: list[Metric] = field(default_factory=list)
    validity: list[Validity] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    explained: list[Explained] = field(default_factory=list)
    per_unit: list[PerUnit] = field(default_factory=list)
    guidance: dict[str, Guidance] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)
    # What follows from the answer, a sentence for each state it may be judged to be in. It may use
    # {failed} and {undecided}: what the expectations in that state are about.
    conclusions: dict[State, str] = field(default_factory=dict)
    # Default bounds that follow from what was measured, beside those of `Check.expectations`.
    expectations: list[Expectation] = field(default_factory=list)
    title: str = ""

    def metric(self, name: str, **slice: str | float) -> Metric:
        """The metric of that name and slice.

        Raises:
            NotThere: there is none; it names what there is.
        """
        return metric_among(self.metrics, name, slice)

    def frame(self) -> pd.DataFrame:
        """A row a metric: metric, slice (in words), value, low, high, n, unit."""
        return measured(self.metrics)

    def plot(self) -> list[Figure]:
        """Its figures; they show themselves in a notebook."""
        return Pictures(self.figures)

    def __repr__(self) -> str:
        return f"Measurement: {self.answer} ({count(len(self.metrics), 'metric')})"

    def _repr_html_(self) -> str:
        return reporter("notebook").measurement(self)


class Check(BaseModel, ABC):
    """One question asked of a subject.

    A subclass says in its docstring's first line what it asks, and in the rest how it is measured
    and by whose method. Its fields are its parameters. It never loads data, prints, seeds, picks a
    device or decides a verdict, and it leaves the model as it found it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    id: ClassVar[str]
    title: ClassVar[str]
    kind: ClassVar[Literal["question", "trial"]] = "question"
    # Of a trial: the checks whose failed expectations it would mend.
    remedies: ClassVar[tuple[str, ...]] = ()
    # The core question of a task that it answers: asked in every audit, whatever is selected.
    core: ClassVar[Core] = ""
    # The least profile that asks it; naming its id asks it in any.
    least_profile: ClassVar[Profile] = "quick"
    # Checks whose failure explains a failure of this one, whose finding then stands under theirs.
    explained_by: ClassVar[tuple[str, ...]] = ()
    # Metric, or "*" for every other → the weakness that it shows, where several metrics or checks show the
    # same one: they make one finding. Else each metric shows one of its own.
    causes: ClassVar[dict[str, str]] = {}
    needs_data: ClassVar[bool] = True
    # Does it count samples that were answered with NaN or infinity itself, as wrong or as what it
    # looks for? Of all other checks they are left out, and named.
    counts_unanswered: ClassVar[bool] = False
    # Does it also cost no less than it declares, but for a share? The contract holds those to it that say so.
    costs_as_declared: ClassVar[bool] = False
    profiles: ClassVar[dict[str, dict[str, Any]]] = {}

    def applies(self, subject: Subject) -> None:
        """Raise NotApplicable, with the reason, where the question has no meaning."""

    def cost(self, subject: Subject) -> Cost:
        """Passes through the model beyond the shared predictions."""
        return Cost()

    @abstractmethod
    def examine(self, context: Context) -> Measurement:
        """Measure. Called only where `applies` did not object."""

    def expectations(self, subject: Subject) -> list[Expectation]:
        """The default bounds, which the user's config overrides."""
        return []

    def asking(self, slices: Sequence[Slice]) -> Check:
        """The check that also measures what the user's expectations name, where it can.

        Args:
            slices: of the expectations; numbers may be written as "8/255".
        """
        return self

    def measure(self, subject: Subject | Context) -> Measurement:
        """Ask this one question of a subject; nothing else is needed.

        Raises:
            NotApplicable: the question has no meaning for the subject; the message says why.
        """
        context = Context.of(subject)
        if context is not subject:
            context.profile = self.like()
        self.applies(context.subject)
        context.unanswered.clear()
        context.spent.clear()
        context.store.asked.clear()
        measurement = self.examine(context)
        if not isinstance(measurement, Measurement):
            raise TypeError(
                f"{self.id} hands over {type(measurement).__name__} where a Measurement is due"
            )
        if context.unanswered and not self.counts_unanswered:
            measurement.left_out.append(
                LeftOut(
                    what="samples",
                    how_many=max(context.unanswered.values()),
                    why=f"the model answers NaN or infinity ({', '.join(context.unanswered)})",
                )
            )
        measurement.title = self.title
        return measurement

    def beside(self, other: type[C]) -> C:
        """Another check in the profile whose parameters this one has.

        For what is declared before an audit is configured.
        """
        return other(**other.profiles.get(self.like(), {}))

    def like(self) -> str:
        """The profile whose parameters this check has: what others are asked with beside it alone."""
        for profile, own in self.profiles.items():
            if all(getattr(self, name) == value for name, value in own.items()):
                return profile
        return "standard"

    @classmethod
    def area(cls) -> str:
        return cls.id.split(".")[0]

    @classmethod
    def explanation(cls) -> str:
        """The docstring of the check's file: what the report and `audit explain` print."""
        module = inspect.getmodule(cls)
        return inspect.cleandoc((module and module.__doc__) or cls.__doc__ or "")


def asked_sizes(slices: Sequence[Slice], name: str) -> set[float]:
    """The sizes of a change that slices of expectations name under a key such as 'eps'.

    Args:
        slices: numbers may be written as "8/255".
    """
    asked = (parse_number(s.get(name), plain=True) for s in slices)
    return {float(size) for size in asked if isinstance(size, (int, float)) and size > 0}


def worst_rows(
    title: str, columns: list[str], rows: list[list[Any]], by: str, *, highest: bool = False
) -> Table:
    """A table of all rows, or of more than a reader reads the lowest by one column (or the highest).

    Its title says of how many. What has no value comes last.
    """
    if len(rows) > MOST_ROWS:
        at, sign = columns.index(by), -1 if highest else 1
        rows = sorted(rows, key=lambda row: np.inf if row[at] is None else sign * row[at])
        end = "highest" if highest else "lowest"
        title = f"{title}: the {MOST_ROWS} of {len(rows):,} with the {end} {by}"
    return Table(title=title, columns=columns, rows=rows[:MOST_ROWS])

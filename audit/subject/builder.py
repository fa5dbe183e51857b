"""From a model and arrays to all that a subject is: what is not given is found out, and told."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor, nn

from audit.arrays import as_inputs, not_numbers
from audit.batching import found_size
from audit.errors import AuditError
from audit.inputs import InputKind
from audit.labels import as_labels, as_texts
from audit.meta import SubjectMeta, describe_errors
from audit.packing import Feed, ways
from audit.people import cluster_labels, group_labels
from audit.record import Fact, LeftOut
from audit.rooms import INPUTS, TASKS, room
from audit.subject.companions import fed, held_in, named_inputs, tensors, told_apart
from audit.subject.gathering import gathered
from audit.subject.inference import PROBE, accepts, complete, form_of, probe, takes_missing
from audit.subject.network import Network, copied, frozen
from audit.subject.samples import INPUT, Samples
from audit.subject.wrapping import OutputForm, PreprocessModule, precision
from audit.tasks import Task
from audit.text import clean_name


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of a network and its samples together.

    Attributes:
        name: of the model.
        meta: the description; complete where there are samples.
        facts, notes: what was given, what was inferred, and what is to be said of it.
        scores: what the network returned for the first samples; nothing without samples.
        spreads: [k] of a task of values: standard deviation of each one's labels, or of the first
            answers without labels.
        extents: of the axes along which a sample's units lie, each with an answer of its own.
        format, trusted: of the file that it was read from.
    """

    name: str
    meta: SubjectMeta
    facts: Sequence[Fact] = ()
    notes: Sequence[str] = ()
    scores: Tensor = field(default_factory=lambda: torch.zeros(0))
    spreads: Tensor = field(default_factory=lambda: torch.zeros(0))
    extents: tuple[int, ...] = ()
    format: str = ""
    trusted: bool = False


@dataclass(frozen=True, eq=False)
class Parts:
    """All that a subject is made of; `training`: the samples that the model learnt from."""

    network: Network
    samples: Samples | None
    training: Samples | None
    known: Known


@dataclass(eq=False)
class Arrays:
    """What was given, as tensors: [n, ...] inputs, [n] or [n, k] labels, and the same of the training.

    Attributes:
        names: of what whole labels number, where they came as names.
        missing: are values missing, which the model takes?
    """

    inputs: Tensor
    labels: Tensor | None
    training: tuple[Tensor, Tensor | None] | None
    names: list[str] | None = None
    missing: bool = False

    @classmethod
    def read(
        cls,
        x: Any,
        y: Any,
        train: tuple[Any, Any] | None,
        precision: torch.dtype,
        classes: list[str] | None,
    ) -> Arrays:
        """Arrays for a network of that precision.

        Raises:
            AuditError: they cannot be audited, or the training data have another shape.
        """
        inputs = as_inputs(x, precision)
        y = None if y is None else as_labels(y, len(inputs), classes)
        arrays = cls(inputs, y, None, classes)
        if train is not None:
            given, labels = as_inputs(train[0], precision), train[1]
            if given.shape[1:] != inputs.shape[1:]:
                raise AuditError(
                    f"The training data have samples of shape {list(given.shape[1:])} and the "
                    f"evaluation data {list(inputs.shape[1:])}; give both in the same form."
                )
            labels = None if labels is None else as_labels(labels, len(given), classes)
            arrays.training = given, labels
        return arrays

    def to(self, dtype: torch.dtype) -> None:
        """Hold all inputs in this type from now on."""
        self.inputs = self.inputs.to(dtype)
        if self.training is not None:
            self.training = self.training[0].to(dtype), self.training[1]


@dataclass(eq=False)
class Draft:
    """What will be a subject, for its task to settle what is still open.

    Attributes:
        network: its answers are held against no threshold yet.
        scores: what the network returned for the first samples.
        extents: of the axes along which its units lie, each with an answer of its own.
        spreads: as of `Known`, once a task of values has settled them.
    """

    network: Network
    meta: SubjectMeta
    batch_size: int
    arrays: Arrays
    scores: Tensor
    extents: tuple[int, ...]
    facts: list[Fact]
    notes: list[str]
    spreads: Tensor = field(default_factory=lambda: torch.zeros(0))

    @property
    def classes(self) -> list[str]:
        return list(self.meta.classes or [])

    @property
    def task(self) -> Task:
        found: Task = room(TASKS, str(self.meta.task))
        return found

    @functools.cached_property
    def kind(self) -> InputKind:
        found: InputKind = room(INPUTS, str(self.meta.input.kind))
        layout = None if self.network.feed is None else self.network.feed.layout
        return found.of(layout, self.meta, self.arrays.inputs)

    @property
    def answers(self) -> Tensor:
        """[n, ...] the values that `scores` stand for."""
        return self.network.form.values(self.scores)

    def scores_of(self, x: Tensor) -> Tensor:
        """[n, k] what the network answers to inputs."""
        network = self.network
        return torch.cat(
            [probe(network.model, part.to(network.device)) for part in x.split(self.batch_size)]
        )

    def unfinished(self, x: Tensor) -> Tensor:
        """All scores for a few inputs, before the task makes of them what is audited (`Task.finish`)."""
        network = self.network.read_as(replace(self.network.form, finish=None))
        found: Tensor = probe(network.model, x.to(network.device))
        return found

    def add_fact(self, name: str, value: Any, reason: str) -> None:
        """Add a fact: inferred, for that reason; given, where there is none."""
        source: Literal["given", "inferred"] = "inferred" if reason else "given"
        self.facts.append(Fact(name=name, value=value, source=source, reason=reason))


def build(
    model: nn.Module,
    x: Any,
    y: Any,
    *,
    sensitive: Mapping[str, Any],
    groups: Any,
    train: tuple[Any, Any] | None,
    meta: SubjectMeta,
    device: str,
    batch_size: int | None,
    data_name: str,
    left_out: Sequence[LeftOut],
    pairs: tuple[Any, Any] | None = None,
) -> Parts:
    """The parts of `audit.Subject`, whose arguments these are.

    Raises:
        AuditError: data and model do not fit together; the sentence says how.
    """
    place, meta = place_of(device), cleanly(meta)
    core = frozen(copied(model), place)
    name, notes = meta.name or type(model).__name__, list[str]()
    if x is None:
        shape = meta.input.shape or [1]
        network = Network(core, preprocessing(meta, core, len(shape) + 1), place, form_of(meta))
        return Parts(network, None, None, Known(name, meta))
    given = gathered(x, y, meta)
    x, y, notes = given.x, given.y, [*notes, *given.notes]
    sensitive, groups = sensitive or given.sensitive, given.groups if groups is None else groups
    meta = meta.over(SubjectMeta(features=given.features)) if given.features else meta
    if train is not None:
        learnt = gathered(*train, meta)
        train = learnt.x, learnt.y
    held, feed = precision(core), None
    named = named_inputs(x, core)
    if named is not None:
        x, train, held, feed = packed(core, place, meta, named, train)
    names = meta.classes or identities(meta, y, None if train is None else train[1])
    arrays = Arrays.read(x, y, train, held, names)
    people, clusters = read_people(sensitive, groups, len(arrays.inputs), meta, notes)
    draft = drafted(core, place, meta, arrays, batch_size, notes, feed)
    add_precision(draft, x)
    draft.task.number_labels(draft)
    draft.task.settle_scale(draft)
    samples = replace(
        samples_of(draft),
        sensitive=people,
        groups=clusters,
        left_out=left_out,
        name=data_name,
        pairs=None if pairs is None else as_pairs(*pairs, len(arrays.inputs)),
    )
    samples = draft.task.arrange(samples, draft)
    check_features(draft, samples)
    add_padding(draft, samples)
    ask_what_is_favourable(draft, samples)
    training = None
    if arrays.training is not None:
        training = samples.others(*arrays.training, f"{data_name} (training)")
    known = Known(name, draft.meta, draft.facts, notes, draft.scores, draft.spreads, draft.extents)
    return Parts(draft.network.read_as(form_of(draft.meta)), samples, training, known)


def identities(meta: SubjectMeta, *labels: Any) -> list[str] | None:
    """The names among labels that name no output but whose a sample is; None: they are no names."""
    if meta.task is None or not room(TASKS, meta.task).compares:
        return None
    given = [np.asarray(y) for y in labels if y is not None and not isinstance(y, Tensor)]
    named = [as_texts(y, "The labels").ravel() for y in given if y.dtype.kind in "OUS"]
    return sorted(set(np.concatenate(named).tolist())) if named else None


def as_pairs(index: Any, same: Any, n: int) -> tuple[Tensor, Tensor]:
    """Named pairs as tensors [m, 2] and [m].

    Raises:
        AuditError: they are none.
    """
    two, told = np.asarray(index), np.asarray(same)
    if two.ndim != 2 or two.shape[1] != 2 or two.dtype.kind not in "iu":
        raise AuditError(
            f"`pairs` has shape {list(two.shape)} ({two.dtype}); two numbers of samples a row are due."
        )
    if told.shape != two.shape[:1] or not set(np.unique(told).tolist()) <= {0, 1}:
        raise AuditError("`same` must hold one 0 or 1 for each pair: are its two the same?")
    if len(two) == 0 or two.min() < 0 or two.max() >= n:
        raise AuditError(f"`pairs` names samples outside the {n:,} that there are (0 to {n - 1}).")
    return torch.from_numpy(two.astype(np.int64)), torch.from_numpy(told.astype(np.int64))


def packed(
    core: nn.Module,
    place: torch.device,
    meta: SubjectMeta,
    named: Mapping[str, Any],
    train: tuple[Any, Any] | None,
) -> tuple[Any, tuple[Any, Any] | None, torch.dtype, Feed | None]:
    """Named inputs side by side, the training data alike, in which type, and how the model takes them.

    One that is alone is taken as it is.
    """
    if len(named) == 1 and not takes_a_dict(core, named):
        if train is not None and isinstance(train[0], Mapping):
            train = next(iter(train[0].values())), train[1]
        return next(iter(named.values())), train, precision(core), None
    found = tensors(named)
    held = held_in(found, precision(core))
    feed = fed(core, found, meta, precision(core), place)
    if train is not None:
        given = named_inputs(train[0], core)
        if given is None:
            raise AuditError(
                "The training data hold one input and the evaluation data several; give both alike."
            )
        train = feed.layout.pack(tensors(given), held), train[1]
    return feed.layout.pack(found, held), train, held, feed


def takes_a_dict(core: nn.Module, named: Mapping[str, Any]) -> bool:
    """Does the model ask a mapping for its only input?"""
    try:
        tried = ways(core, list(named))
    except AuditError:
        return False
    if tried[0] == "by keyword":
        return False
    two = {name: torch.as_tensor(values)[:2] for name, values in tensors(named).items()}
    try:
        with torch.no_grad():
            core(next(iter(two.values())))
    except Exception:  # noqa: BLE001 - the user's code may raise anything
        return True
    return False


def samples_of(draft: Draft) -> Samples:
    """The evaluation data, as far as the arrays tell them."""
    inputs, kind = draft.arrays.inputs, draft.kind
    return Samples(
        {INPUT: inputs},
        draft.arrays.labels,
        kind,
        draft.network.device,
        draft.batch_size,
        kind.features(inputs, draft.meta.features),
        kind.pad(inputs),
        layout=None if draft.network.feed is None else draft.network.feed.layout,
        lacking=draft.arrays.missing,
    )


def drafted(
    core: nn.Module,
    place: torch.device,
    meta: SubjectMeta,
    arrays: Arrays,
    batch_size: int | None,
    notes: list[str],
    feed: Feed | None = None,
) -> Draft:
    """What a few answers tell of the network.

    Raises:
        AuditError: it does not accept the samples, or its answers can be read in no way or in several.
    """
    inputs = arrays.inputs
    network = Network(core, preprocessing(meta, core, inputs.ndim), place, OutputForm(), feed)
    if feed is not None:
        meta, told = told_apart(meta, core, feed, inputs.to(place))
    tokens = inputs.ndim == 2 and not inputs.is_floating_point()
    tokens = tokens and accepts(network, inputs[:2].to(place))
    # Bytes of a picture and whole numbers of a table are none.
    arrays.to(inputs.dtype if tokens or feed is not None else floating(network.dtype))
    missing = check_missing(network, arrays, place)
    training_labels = None if arrays.training is None else arrays.training[1]
    found = complete(meta, network, arrays.inputs.to(place), arrays.labels, training_labels)
    found.facts.extend(missing)
    if feed is not None:  # what was told of each stands for what was told of all
        found.facts[:] = [*told, *(f for f in found.facts if f.name != "input kind")]
    return Draft(
        network.read_as(form_of(found.meta, threshold=False)),
        found.meta,
        batch_size or found_size(network, arrays.inputs),
        arrays,
        found.scores,
        found.extents,
        found.facts,
        notes,
    )


def check_missing(network: Network, arrays: Arrays, place: torch.device) -> list[Fact]:
    """The fact that values are missing and the model takes that, where some are.

    Raises:
        AuditError: it answers with NaN where one is.
    """
    known = [arrays.inputs, *([arrays.training[0]] if arrays.training is not None else [])]
    for x in known:
        gone = x.isnan().reshape(len(x), -1)
        if not bool(gone.any()):
            continue
        rows = gone.any(1).nonzero()[:, 0]
        if not takes_missing(network, x[rows[:PROBE]].to(place)):
            raise AuditError(not_numbers(x))
        arrays.missing = True
        value = f"{float(gone.float().mean()):.1%} of the values, in {len(rows):,} samples"
        reason = "they are NaN, and the model answers to them with numbers; they stay as they are"
        return [Fact(name="missing values", value=value, source="inferred", reason=reason)]
    return []


def described(known: Mapping[str, Any], meta: SubjectMeta | None) -> SubjectMeta:
    """The description in a call's keywords, over another.

    Raises:
        AuditError: a keyword is unknown, or its value is.
    """
    try:
        given = SubjectMeta.model_validate(known)
    except ValidationError as error:
        raise AuditError(f"[subject] {describe_errors(error, '')}.") from None
    return given.over(meta or SubjectMeta())


def cleanly(meta: SubjectMeta) -> SubjectMeta:
    """The description, every name fit to be shown.

    Raises:
        AuditError: two names are then one.
    """
    try:
        return meta.named_cleanly()
    except ValueError as error:
        raise AuditError(f"[subject] {error}.") from None


def place_of(device: str) -> torch.device:
    """The device of that name; 'auto': the fastest that is there.

    Raises:
        AuditError: there is none.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise AuditError("--device cuda: torch sees no CUDA device here; use --device cpu.")
    return torch.device(device)


def preprocessing(meta: SubjectMeta, core: nn.Module, ndim: int) -> nn.Module:
    """What is done to a batch of so many axes before the network gets it."""
    spec = meta.input.preprocess
    if spec is None:
        return nn.Identity()
    return PreprocessModule(spec, ndim, floating(precision(core)))


def read_people(
    sensitive: Mapping[str, Any], groups: Any, n: int, meta: SubjectMeta, notes: list[str]
) -> tuple[dict[str, NDArray[np.str_]], NDArray[np.str_] | None]:
    """Sensitive attributes and clusters, a label each; what is to be said of them is noted."""
    bins = meta.sensitive_bins or {}
    for name in bins:
        if name not in sensitive:
            raise AuditError(
                f"[subject] sensitive_bins names {name!r}, which is not among the sensitive "
                f"attributes ({', '.join(map(clean_name, sensitive)) or 'none is given'})."
            )
    people: dict[str, NDArray[np.str_]] = {}
    for name, values in sensitive.items():
        shown = clean_name(name)
        people[shown], said = group_labels(values, n, shown, bins.get(name))
        notes += said
    if groups is None:
        return people, None
    clusters, said = cluster_labels(groups, n)
    notes += said
    return people, clusters


def add_precision(draft: Draft, given: Any) -> None:
    """In which precision the model computes, and what was cast."""
    came, used, own = (
        dtype_name(given),
        dtype_name(draft.arrays.inputs),
        dtype_name(draft.network.dtype),
    )
    reason = "of the model's weights"
    if draft.arrays.inputs.is_floating_point() and own != used:
        reason += f"; inputs are held as {used} and cast to it"
    draft.add_fact("precision", own, reason)
    if came != used and came not in ("bool", "object") and not came.startswith(("int", "uint")):
        draft.notes.append(f"The inputs are given as {came} and are audited as {used}.")


def check_features(draft: Draft, samples: Samples) -> None:
    """The features that are described belong to the columns, and some count in whole numbers."""
    if not draft.meta.features or draft.network.feed is not None:
        return
    used = [c for f in draft.meta.features for c in f.columns]
    width = draft.arrays.inputs.shape[-1]
    if sorted(used) != list(range(width)):
        raise AuditError(
            f"The features name the columns {sorted(used)[:5]}… and the data have {width} "
            "columns; each column must belong to exactly one feature."
        )
    whole = samples.whole
    if whole is None:
        return
    names = [f.name for f in samples.features if f.whole is None and bool(whole[0, f.columns[0]])]
    if names:
        draft.add_fact("whole numbers", names, "no value of theirs in the data has a fraction")


def add_padding(draft: Draft, samples: Samples) -> None:
    """How much of the samples is padding, where they are padded."""
    pads = samples.padding(samples.inputs)
    if pads is not None:
        why = "samples of several lengths end in the same step, over and over"
        if samples.layout is not None:
            why = f"a mask or a length says so, or {why}"
        draft.add_fact(
            "padding",
            f"{float(pads.float().mean()):.0%} of the values",
            f"{why}; it is never changed, counted or explained",
        )


def ask_what_is_favourable(draft: Draft, samples: Samples) -> None:
    """Of two classes one may be the better for whom it concerns; which, is not to be guessed."""
    two = draft.task.decides and len(draft.classes) == 2
    if samples.sensitive and two and draft.meta.favourable is None:
        first, second = draft.classes
        draft.notes.append(
            f"Whether {first} or {second} is the favourable answer is not stated: give [subject] "
            f'favourable = "{second}", or "{first}". Until then rates by group are shown for both, '
            "and no ratio between groups gates."
        )


def floating(dtype: torch.dtype) -> torch.dtype:
    """The type that inputs are held in for a model of this one: never a half."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def dtype_name(given: Any) -> str:
    """'float64', of a tensor, an array, a frame or a type."""
    if isinstance(given, torch.dtype):
        return str(given).removeprefix("torch.")
    if isinstance(given, Tensor):
        return dtype_name(given.dtype)
    return str(np.asarray(given).dtype)

"""The subject of an audit: a network, its evaluation data, and what is known of both."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from audit.batching import fitting
from audit.entrypoints import reporter
from audit.errors import NotApplicable, OtherTask
from audit.inputs import InputKind
from audit.libraries import art_classifier
from audit.meta import Feature, SubjectMeta
from audit.record import Fact, LeftOut, SubjectRecord
from audit.rooms import INPUTS, TASKS, room
from audit.subject.builder import Known, Parts, build, described
from audit.subject.gathering import of_batches
from audit.subject.inference import UNUSABLE, probe, probe_rows
from audit.subject.network import Network, tensor_bytes
from audit.subject.samples import Moments, Samples
from audit.subject.telling import text, told
from audit.tasks import LACKS, Task

if TYPE_CHECKING:
    from art.estimators.classification import PyTorchClassifier

__all__ = ["Known", "Moments", "Network", "Samples", "Subject"]

Derived = TypeVar("Derived")


class Subject:
    """A model with its evaluation data, ready to be audited.

    Args:
        model: takes a batch [n, ...] and returns scores [n] or [n, classes], or a tuple of which
            one item is that. A copy is audited; the model itself stays as it is.
        x: [n, ...] inputs, numbers, in the units that `preprocess` (if any) expects; of a model that takes
            several a mapping of them, or a tuple in the order of its `forward`; a DataFrame, whose columns
            keep their names; a Dataset or a DataLoader, which is read to its end. Without them only
            weights are audited.
        y: [n] class indices (classification) or values (regression).
        sensitive: name → [n] labels of people's groups, which the model need not see.
        groups: [n] labels of clusters of samples that are not independent (writer, patient).
        train: (inputs, labels or None) that the model learnt from, in the form of x and y.
        meta: what is known; keywords below override it. `**known` takes the fields of
            `audit.meta.SubjectMeta`: task, output, input, classes, features, ...
        device: 'cpu', 'cuda' or 'auto'.
        batch_size: how many samples are answered together; found by what one of them takes up in the
            network where None (`audit.batching`).
        data_name: what the report calls the data.
        left_out: what belongs to the data and was not read, counted and named.
        pairs: of embeddings, ([m, 2] numbers of two samples, [m] are they the same?), to be told apart.

    Raises:
        AuditError: data and model do not fit together; the sentence says how.

    Example:
        >>> import audit, torch
        >>> x = torch.linspace(-1, 1, 100)[:, None]
        >>> model = torch.nn.Linear(1, 1)
        >>> subject = audit.Subject(model, x, x[:, 0] > 0, classes=["low", "high"])
        >>> subject.task.name, subject.kind.name, subject.n
        ('binary', 'tabular', 100)
    """

    network: Network
    known: Known

    def __init__(
        self,
        model: nn.Module,
        x: Any = None,
        y: Any = None,
        *,
        sensitive: Mapping[str, Sequence[Any]] | None = None,
        groups: Sequence[Any] | None = None,
        train: tuple[Any, Any] | None = None,
        meta: SubjectMeta | None = None,
        device: str = "cpu",
        batch_size: int | None = None,
        data_name: str = "",
        left_out: Sequence[LeftOut] = (),
        pairs: tuple[Any, Any] | None = None,
        **known: Any,
    ) -> None:
        parts = build(
            model,
            x,
            y,
            sensitive=sensitive or {},
            groups=groups,
            train=train,
            meta=described(known, meta),
            device=device,
            batch_size=batch_size,
            data_name=data_name,
            left_out=left_out,
            pairs=pairs,
        )
        self._consist_of(parts)

    @classmethod
    def from_loader(
        cls,
        model: nn.Module,
        loader: Iterable[Any],
        *,
        train: Iterable[Any] | None = None,
        labels: bool = True,
        meta: SubjectMeta | None = None,
        **known: Any,
    ) -> Subject:
        """A subject of all that a loader yields, batch by batch.

        Args:
            loader: yields tuples (inputs …, labels), mappings of inputs with one of the keys labels, label,
                y, target, targets, or tensors. Batches of several lengths are filled up with zeros.
            train: the same of what the model learnt from.
            labels: does it yield labels?
            meta, known: as of `audit.Subject`.

        Raises:
            AuditError: it yields what is no tensor; the sentence says what.

        Example:
            >>> import audit, torch
            >>> x = torch.linspace(-1, 1, 100)[:, None]
            >>> data = torch.utils.data.TensorDataset(x, (x[:, 0] > 0).long())
            >>> loader = torch.utils.data.DataLoader(data, batch_size=32)
            >>> audit.Subject.from_loader(torch.nn.Linear(1, 2), loader).n
            100
        """
        found = of_batches(loader, labels, None)
        learnt = None if train is None else of_batches(train, labels, None)
        subject = cls(
            model,
            found.x,
            found.y,
            train=None if learnt is None else (learnt.x, learnt.y),
            meta=meta,
            **known,
        )
        notes = [*subject.notes, *found.notes]
        return subject._with(replace(subject._parts, known=replace(subject.known, notes=notes)))

    def _consist_of(self, parts: Parts) -> None:
        self._parts = parts
        self.network, self.known = parts.network, parts.known
        self._derived: dict[str, Any] = {}

    # Subjects and networks that are made of it

    def _with(self, parts: Parts) -> Subject:
        subject = object.__new__(type(self))
        subject._consist_of(parts)
        return subject

    def with_samples(self, samples: Samples) -> Subject:
        """The same network with other samples to be evaluated on, as those that it learnt from."""
        return self._with(replace(self._parts, samples=samples, training=None))

    def with_network(self, name: str, core: nn.Module, before: nn.Module | None = None) -> Subject:
        """The same data and description with another network, and perhaps something before it.

        Args:
            name: what was done to the network.
            core: takes and gives what the subject's own network does.
            before: done to inputs, in their units, before anything else.

        Raises:
            AuditError: it does not accept the data.
        """
        network = self.network.with_core(core, before)
        raw = probe(network.raw, self.inputs[probe_rows(self.n)].to(self.device))
        known = replace(
            self.known,
            name=f"{self.name} ({name})",
            scores=network.form.tensor(raw),
        )
        return self._with(replace(self._parts, network=network, known=known))

    def kind_of(self, name: str) -> InputKind:
        """What one of its several inputs is, where that only accompanies no other."""
        found: InputKind = room(INPUTS, str(dict(self.meta.inputs or {})[name].kind))
        return found

    def only(self, name: str) -> Subject:
        """It, as if one of its several inputs were all: what that one's kind is asked about.

        Its network takes them all, and is not to be asked.
        """

        def made() -> Subject:
            described, kind = dict(self.meta.inputs or {})[name], self.kind_of(name)
            one = self.samples.one(name, kind, self.meta.features)
            features = self.meta.features if one.features else None
            meta = self.meta.model_copy(
                update={"input": described, "inputs": None, "features": features}
            )
            facts = [
                f.model_copy(update={"name": f.name.replace(f"range of {name}", "input range")})
                for f in self.facts
            ]
            known = replace(self.known, meta=meta, facts=facts)
            return self._with(replace(self._parts, samples=one, training=None, known=known))

        return self.derived(f"only {name}", made)

    def read_from(self, format: str, *, trusted: bool, notes: Sequence[str]) -> Subject:
        """The same, read from a file.

        Args:
            format: of the file, as its content shows.
            trusted: was it loaded by running it?
            notes: all that is to be said, of the file and of the subject.
        """
        fact = Fact(name="format", value=format, source="inferred", reason="the file's content")
        known = replace(
            self.known, format=format, trusted=trusted, facts=[fact, *self.facts], notes=notes
        )
        return self._with(replace(self._parts, known=known))

    def told(self, fact: Fact | None, reasons: Mapping[str, str]) -> Subject:
        """The same, with what its files tell.

        Args:
            fact: one more, if there is one.
            reasons: of facts that nobody gave, though they came as if given: where they were read.
        """
        facts = [
            f.model_copy(update={"source": "inferred", "reason": reasons[f.name]})
            if f.name in reasons and f.source == "given"
            else f
            for f in self.facts
        ]
        known = replace(self.known, facts=[*facts, *([fact] if fact else [])])
        return self._with(replace(self._parts, known=known))

    def derived(self, name: str, make: Callable[[], Derived]) -> Derived:
        """What is made of the subject (its network with rounded weights, a surrogate), made once.

        Args:
            name: what was done to it.
        """
        if name not in self._derived:
            self._derived[name] = make()
        found: Derived = self._derived[name]
        return found

    def forget_derived(self) -> None:
        """Throw away what was made of it: made again where it is asked for."""
        self._derived.clear()

    # What it is

    @property
    def name(self) -> str:
        return self.known.name

    @property
    def meta(self) -> SubjectMeta:
        """Its description."""
        return self.known.meta

    @property
    def facts(self) -> Sequence[Fact]:
        """What was given of it, and what was inferred."""
        return self.known.facts

    @property
    def notes(self) -> Sequence[str]:
        """What is to be said of it."""
        return self.known.notes

    @property
    def format(self) -> str:
        """Of the file that it was read from."""
        return self.known.format

    @property
    def classes(self) -> list[str]:
        return list(self.meta.classes or [])

    @property
    def kind(self) -> InputKind:
        """What its samples are."""
        if self._parts.samples is not None:
            return self._parts.samples.kind
        found: InputKind = room(INPUTS, str(self.meta.input.kind))
        return found

    @property
    def task(self) -> Task:
        """What its answers are."""
        found: Task = room(TASKS, str(self.meta.task))
        return found

    @property
    def range(self) -> tuple[float, float] | None:
        return self.meta.input.range

    @property
    def range_is_inferred(self) -> bool:
        return any(f.name == "input range" and f.source == "inferred" for f in self.facts)

    # Its samples

    @property
    def samples(self) -> Samples:
        """Its evaluation data.

        Raises:
            NotApplicable: none are given.
        """
        if self._parts.samples is None:
            raise NotApplicable("no evaluation data are given")
        return self._parts.samples

    @property
    def training(self) -> Samples:
        """The samples that it learnt from.

        Raises:
            NotApplicable: none are given.
        """
        if self._parts.training is None:
            raise NotApplicable("no training data are given (--train-data)")
        return self._parts.training

    @property
    def n(self) -> int:
        """Evaluation samples; 0 where no data are given."""
        return 0 if self._parts.samples is None else len(self._parts.samples)

    @property
    def training_n(self) -> int:
        """Training samples; 0 where none are given."""
        return 0 if self._parts.training is None else len(self._parts.training)

    @property
    def inputs(self) -> Tensor:
        """[n, ...] its inputs.

        Raises:
            NotApplicable: no data are given.
        """
        return self.samples.inputs

    @property
    def has_labels(self) -> bool:
        return self._parts.samples is not None and self._parts.samples.labels is not None

    @property
    def labels(self) -> Tensor:
        """[n] its labels.

        Raises:
            NotApplicable: there are none.
        """
        labels = self.samples.labels
        if labels is None:
            raise NotApplicable("the data hold no labels")
        return labels

    @property
    def sensitive(self) -> Mapping[str, NDArray[np.str_]]:
        """Name → [n] labels of people's groups."""
        return self.samples.sensitive

    @property
    def clusters(self) -> NDArray[np.str_] | None:
        """[n] labels of samples that are not independent, where some are not."""
        return self.samples.clusters

    @property
    def left_out(self) -> list[LeftOut]:
        """What belongs to the data and was not read; nothing where no data are given."""
        return [] if self._parts.samples is None else list(self._parts.samples.left_out)

    @property
    def features(self) -> Sequence[Feature]:
        """The named features, where single columns mean something."""
        return self.samples.features

    @property
    def channels_last(self) -> bool:
        """Are its pictures [height, width, channels]?"""
        return self.samples.channels_last

    @property
    def moments(self) -> Moments:
        """Mean, spread and bounds of the evaluation data, for every input value."""
        return self.samples.moments

    @property
    def whole(self) -> Tensor | None:
        """[1, columns] the numeric features of a table that count in whole numbers; None: none do."""
        return self.samples.whole

    def padding(self, x: Tensor) -> Tensor | None:
        """[n, ...] which values of samples like its own are no part of them; None: all are."""
        return self.samples.padding(x)

    @property
    def batch_size(self) -> int:
        """How many samples are asked at once."""
        return (
            fitting(0, self.device)
            if self._parts.samples is None
            else self._parts.samples.batch_size
        )

    def batch(self, indices: Sequence[int] | NDArray[np.intp]) -> tuple[Tensor, Tensor]:
        """Inputs and labels of some samples, on the subject's device."""
        return self.samples.batch(indices)

    # Its network

    @property
    def core(self) -> nn.Module:
        """The user's model, frozen."""
        return self.network.core

    @property
    def model(self) -> nn.Module:
        """Its network, preprocessing before it and logits after it."""
        return self.network.model

    @property
    def device(self) -> torch.device:
        return self.network.device

    def logits(self, x: Tensor) -> Tensor:
        """Logits [n, classes], or values [n, 1], for a batch on any device; gradients flow to `x`."""
        return self.network.logits(x)

    @functools.cached_property
    def differentiable(self) -> bool:
        """Does a gradient of the answers reach the inputs?"""
        x = self.inputs[:2].to(self.device)
        if not x.is_floating_point():
            return False
        x = x.clone().requires_grad_(True)
        with torch.enable_grad():
            answers = self.logits(x)
            if not answers.requires_grad:
                return False
            (found,) = torch.autograd.grad(answers.sum(), x, allow_unused=True)
        return found is not None

    # What a check may ask for

    def require(self, *capabilities: str, labels: bool = True) -> None:
        """Raise NotApplicable unless there are data, with answers and labels of the form asked for.

        Args:
            capabilities: of the task, as 'decides' or 'has_probabilities' (`audit.tasks.LACKS`).
            labels: must there be labels?
        """
        samples = self.samples
        for fact in self.facts:
            if fact.name == UNUSABLE:
                raise NotApplicable(str(fact.value))
        for capability in capabilities:
            if not getattr(self.task, capability):
                raise OtherTask(LACKS[capability].format(self.task.name))
        if capabilities:
            self.task.require(self)
        if labels and samples.labels is None:
            raise NotApplicable("the data hold no labels")

    def require_training_data(self, *, labels: bool = True) -> None:
        """Raise NotApplicable where no training data (with labels) are given."""
        training = self.training
        if labels and training.labels is None:
            raise NotApplicable("the training data hold no labels")

    def require_layers(self) -> None:
        """Raise NotApplicable where nothing inside the network can be watched."""
        if any(isinstance(m, torch.jit.ScriptModule) for m in self.core.modules()):
            raise NotApplicable(
                "the model is a TorchScript program, which cannot be watched inside"
            )

    def require_continuous_inputs(self) -> None:
        """Raise NotApplicable where inputs cannot be changed by small steps."""
        if not self.kind.continuous:
            raise NotApplicable(
                f"the inputs are {self.kind.noun}, which cannot be changed by small steps"
            )

    def require_gradients(self) -> None:
        """Raise NotApplicable where the network hides how its answers come about."""
        if not self.differentiable:
            raise NotApplicable(
                "no gradient of the answers reaches the inputs (no_grad, detach or numpy inside the model)"
            )

    # What it shows of itself, and where others go on

    def __repr__(self) -> str:
        return text(self)

    def _repr_html_(self) -> str:
        return reporter("notebook").subject(self.name, told(self))

    def to_art(self) -> PyTorchClassifier:
        """It as ART's `PyTorchClassifier`, for attacks and defences of ART's own.

        Inputs are in the user's units, preprocessing included; answers are logits [n, classes]; the bounds
        are those of the inputs, none where they are guessed. Its weights are frozen: there is nothing in it
        that could be trained.

        Raises:
            NotApplicable: an answer is no class a sample, or there are no data.

        Example:
            >>> import audit, torch
            >>> x = torch.linspace(0, 1, 100)[:, None]
            >>> subject = audit.Subject(torch.nn.Linear(1, 2), x, (x[:, 0] > 0.5).long())
            >>> subject.to_art().predict(x[:5].numpy()).shape
            (5, 2)
        """
        self.require("decides", labels=False)
        reach, guessed = self.kind.reach(self, 0.0), self.kind.guessed(self)
        bounds = None if guessed is None or bool(guessed.any()) else (reach.low, reach.high)
        return art_classifier(
            self.logits, tuple(self.inputs.shape[1:]), len(self.classes), bounds, self.device
        )

    # What the record says

    def weights_digest(self) -> str:
        """sha256 of weights and buffers, with their names."""
        return self.network.weights_digest()

    def sample_digests(self) -> list[str]:
        """16 hexadecimal digits for each sample: its input and label."""
        return [] if self._parts.samples is None else self._parts.samples.digests

    def data_digest(self) -> str:
        """sha256 of the evaluation data; empty where none are given."""
        return "" if self._parts.samples is None else self._parts.samples.digest()

    def training_digest(self) -> str:
        """sha256 of the training data; empty where none are given."""
        return "" if self._parts.training is None else self._parts.training.digest()

    def behaviour_digest(self) -> str:
        """sha256 of what decides the model's answers: weights, code, and scores of a few samples."""
        digest = hashlib.sha256(self.weights_digest().encode())
        for source in self.network.sources():
            digest.update(source.encode())
        digest.update(self.meta.model_dump_json().encode())
        digest.update(str(self.range_is_inferred).encode())  # what is guessed bounds no attack
        for fact in self.facts:
            if fact.name.startswith("range of ") and fact.source == "inferred":
                digest.update(fact.name.encode())
        digest.update(tensor_bytes(self.known.scores))
        return digest.hexdigest()

    def summary(self) -> SubjectRecord:
        """What the record says of the subject."""
        samples = self._parts.samples
        return SubjectRecord(
            model=self.name,
            architecture=type(self.core).__name__,
            digest=self.weights_digest(),
            parameters=sum(p.numel() for p in self.core.parameters()),
            format=self.format,
            trusted=self.known.trusted,
            data="" if samples is None else samples.name,
            data_digest=self.data_digest(),
            n=self.n,
            training_n=self.training_n,
            training_digest=self.training_digest(),
            task=self.meta.task or "",
            classes=self.classes,
            facts=list(self.facts),
            notes=[*self.notes, *([] if samples is None else samples.notes_on_copies())],
        )

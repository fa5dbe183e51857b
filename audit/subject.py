"""The subject of an audit: a model, its evaluation data, and what is known of both."""

from __future__ import annotations

import copy
import functools
import hashlib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor, nn

from audit.arrays import as_inputs, has_channels_last
from audit.batching import fitting, found_size
from audit.copies import copies
from audit.errors import AuditError, NotApplicable
from audit.inference import UNUSABLE, complete, probe, probe_rows
from audit.inputs import InputKind
from audit.labels import as_labels
from audit.meta import Feature, SubjectMeta, describe_errors
from audit.outputs import answered, select_output
from audit.people import cluster_labels, group_labels
from audit.record import Fact, LeftOut, SubjectRecord
from audit.rooms import INPUTS, TASKS, room
from audit.tasks import LACKS, Task
from audit.text import clean_name
from audit.wrapping import Logits, Network, PreprocessModule, accepts, evaluating, precision


@dataclass(frozen=True)
class Moments:
    """Each [1, ...], on the subject's device."""

    mean: Tensor
    std: Tensor
    low: Tensor
    high: Tensor


class Subject:
    """A model with its evaluation data, ready to be audited.

    Args:
        model: takes a batch [n, ...] and returns scores [n] or [n, classes], or a tuple of which
            one item is that. A copy is audited; the model itself stays as it is.
        x: [n, ...] inputs, numbers, in the units that `preprocess` (if any) expects.
        y: [n] class indices (classification) or values (regression).
        sensitive: name → [n] labels of people's groups, which the model need not see.
        groups: [n] labels of clusters of samples that are not independent (writer, patient).
        left_out: what belongs to the data and was not read, counted and named.
        meta: what is known; keywords below override it. `**known` takes the fields of
            `audit.meta.SubjectMeta`: task, output, input, classes, features, ...
        device: 'cpu', 'cuda' or 'auto'.
        batch_size: how many samples are answered together; found by what one of them takes up in the
            network where None (`audit.batching`).

    Raises:
        AuditError: data and model do not fit together; the sentence says how.
    """

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
        **known: Any,
    ) -> None:
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if device == "cuda" and not torch.cuda.is_available():
            raise AuditError("--device cuda: torch sees no CUDA device here; use --device cpu.")
        try:
            given = SubjectMeta.model_validate(known)
        except ValidationError as error:
            raise AuditError(f"[subject] {describe_errors(error, '')}.") from None
        meta = given.over(meta or SubjectMeta())
        try:
            meta = meta.named_cleanly()
        except ValueError as error:
            raise AuditError(f"[subject] {error}.") from None
        self.device = torch.device(device)
        # The user goes on training the model, perhaps: what is frozen and moved here is a copy.
        self.core = evaluating(copied(model).to(self.device))
        for parameter in self.core.parameters():
            # Attacks and attributions need gradients to inputs only.
            parameter.requires_grad_(False)
        self.name = meta.name or type(model).__name__
        self.data_name = data_name
        self.format, self.trusted = "", False
        self.notes: list[str] = []
        self.left_out: list[LeftOut] = list(left_out)
        self.facts: list[Fact] = []
        self.sensitive: dict[str, NDArray[np.str_]] = {}
        self.groups: NDArray[np.str_] | None = None
        self.train: tuple[Tensor, Tensor | None] | None = None
        self.meta = meta
        self.batch_size = batch_size or fitting(0, self.device)
        self.x: Tensor | None = None
        self.y: Tensor | None = None
        if x is None:
            return
        exact = precision(self.core)
        self.x = as_inputs(x, exact)
        self.batch_size = batch_size or fitting(self.x[0].numel(), self.device)
        self.y = None if y is None else as_labels(y, len(self.x), meta.classes)
        if train is not None:
            self.train = self.training_samples(*train)
        self.read_people(sensitive or {}, groups)
        spec = meta.input.preprocess
        self.preprocess: nn.Module = (
            PreprocessModule(spec, self.x.ndim, floating(exact)).to(self.device)
            if spec
            else nn.Identity()
        )
        network = Network(self.core, self.preprocess)
        whole = not self.x.is_floating_point()
        if whole and (self.x.ndim != 2 or not accepts(network, self.x[:2].to(self.device))):
            self.x = self.x.to(
                floating(exact)
            )  # bytes of a picture, whole numbers of a table: not tokens
        if batch_size is None:
            self.batch_size = found_size(network, self.x, self.device)
        found = complete(
            meta,
            network,
            self.x.to(self.device),
            self.y,
            None if self.train is None else self.train[1],
        )
        self.meta, self.probe_scores = found.meta, found.scores
        self.facts.extend(found.facts)
        self.tell_precision(x, exact)
        self.task.number_labels(self)
        self.task.settle_scale(self)
        self.check_features()
        self.tell_padding()
        self.ask_what_is_favourable()
        self.model = self.logits_of(self.core)
        # Copies with other weights (drawn anew, rounded), by what was done to them.
        self.copies: dict[str, Logits] = {}
        # What learnt to answer as this model does, once somebody asked for it.
        self.surrogate: nn.Module | None = None
        self._digests: list[str] | None = None
        self._heard: list[Tensor] | None = None  # rows without an answer, while somebody listens

    # What it is

    @property
    def n(self) -> int:
        return 0 if self.x is None else len(self.x)

    @property
    def classes(self) -> list[str]:
        return list(self.meta.classes or [])

    @property
    def kind(self) -> InputKind:
        """What its samples are."""
        found: InputKind = room(INPUTS, str(self.meta.input.kind))
        return found

    @property
    def task(self) -> Task:
        """What its answers are."""
        found: Task = room(TASKS, str(self.meta.task))
        return found

    @property
    def inputs(self) -> Tensor:
        """[n, ...] its inputs.

        Raises:
            NotApplicable: no data are given.
        """
        if self.x is None:
            raise NotApplicable("no evaluation data are given")
        return self.x

    @property
    def labels(self) -> Tensor:
        """[n] its labels.

        Raises:
            NotApplicable: there are none.
        """
        if self.y is None:
            raise NotApplicable("the data hold no labels")
        return self.y

    @property
    def features(self) -> list[Feature]:
        """The named features, where single columns mean something."""
        return [] if self.x is None else self.kind.features(self)

    @property
    def channels_last(self) -> bool:
        """Are its pictures [height, width, channels]?"""
        return self.x is not None and has_channels_last(self.x)

    @property
    def range(self) -> tuple[float, float] | None:
        return self.meta.input.range

    @property
    def range_is_inferred(self) -> bool:
        return any(f.name == "input range" and f.source == "inferred" for f in self.facts)

    def require(self, *capabilities: str, labels: bool = True) -> None:
        """Raise NotApplicable unless there are data, with answers and labels of the form asked for.

        Args:
            capabilities: of the task, as 'decides' or 'has_probabilities' (`audit.tasks.LACKS`).
            labels: must there be labels?
        """
        if self.x is None:
            raise NotApplicable("no evaluation data are given")
        for fact in self.facts:
            if fact.name == UNUSABLE:
                raise NotApplicable(str(fact.value))
        for capability in capabilities:
            if not getattr(self.task, capability):
                raise NotApplicable(LACKS[capability].format(self.task.name))
        if capabilities:
            self.task.require(self)
        if labels and self.y is None:
            raise NotApplicable("the data hold no labels")

    def require_training_data(self, *, labels: bool = True) -> None:
        """Raise NotApplicable where no training data (with labels) are given."""
        if self.train is None:
            raise NotApplicable("no training data are given (--train-data)")
        if labels and self.train[1] is None:
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

    def require_gradients(self) -> None:
        """Raise NotApplicable where the network hides how its answers come about."""
        if not self.differentiable:
            raise NotApplicable(
                "no gradient of the answers reaches the inputs (no_grad, detach or numpy inside the model)"
            )

    # Its data, checked

    def tell(self, name: str, value: float, reason: str) -> None:
        """Add a fact: inferred, for that reason; given, where there is none."""
        source: Literal["given", "inferred"] = "inferred" if reason else "given"
        self.facts.append(Fact(name=name, value=value, source=source, reason=reason))

    @functools.cached_property
    def label_spread(self) -> float:
        """Standard deviation of the labels, or of the first answers without labels."""
        values = self.probe_scores if self.y is None else self.y
        return float(values.double().std())

    def tell_precision(self, given: Any, exact: torch.dtype) -> None:
        """In which precision the model computes, and what was cast."""
        came, used, own = dtype_name(given), dtype_name(self.inputs), dtype_name(exact)
        reason = "of the model's weights"
        if self.inputs.is_floating_point() and own != used:
            reason += f"; inputs are held as {used} and cast to it"
        self.facts.append(Fact(name="precision", value=own, source="inferred", reason=reason))
        if came != used and came not in ("bool", "object") and not came.startswith(("int", "uint")):
            self.notes.append(f"The inputs are given as {came} and are audited as {used}.")

    def check_features(self) -> None:
        if not self.meta.features or self.x is None:
            return
        used = [c for f in self.meta.features for c in f.columns]
        width = self.x.shape[-1]
        if sorted(used) != list(range(width)):
            raise AuditError(
                f"The features name the columns {sorted(used)[:5]}… and the data have {width} "
                "columns; each column must belong to exactly one feature."
            )
        if self.whole is not None:
            names = [
                f.name
                for f in self.features
                if f.whole is None and bool(self.whole[0, f.columns[0]])
            ]
            if names:
                self.facts.append(
                    Fact(
                        name="whole numbers",
                        value=names,
                        source="inferred",
                        reason="no value of theirs in the data has a fraction",
                    )
                )

    def read_people(self, sensitive: Mapping[str, Any], groups: Any) -> None:
        """Sensitive attributes and clusters, a label each; what is to be said of them is noted."""
        bins = self.meta.sensitive_bins or {}
        for name in bins:
            if name not in sensitive:
                raise AuditError(
                    f"[subject] sensitive_bins names {name!r}, which is not among the sensitive "
                    f"attributes ({', '.join(map(clean_name, sensitive)) or 'none is given'})."
                )
        for name, values in sensitive.items():
            shown = clean_name(name)
            self.sensitive[shown], notes = group_labels(values, self.n, shown, bins.get(name))
            self.notes += notes
        if groups is not None:
            self.groups, notes = cluster_labels(groups, self.n)
            self.notes += notes

    def ask_what_is_favourable(self) -> None:
        """Of two classes one may be the better for whom it concerns; which, is not to be guessed."""
        if self.sensitive and len(self.classes) == 2 and self.meta.favourable is None:
            first, second = self.classes
            self.notes.append(
                f"Whether {first} or {second} is the favourable answer is not stated: give [subject] "
                f'favourable = "{second}", or "{first}". Until then rates by group are shown for both, '
                "and no ratio between groups gates."
            )

    def training_samples(self, x: Any, y: Any) -> tuple[Tensor, Tensor | None]:
        """Training data, of the same kind as the evaluation data.

        Raises:
            AuditError: their samples have another shape.
        """
        inputs = as_inputs(x, precision(self.core))
        if inputs.shape[1:] != self.inputs.shape[1:]:
            raise AuditError(
                f"The training data have samples of shape {list(inputs.shape[1:])} and the "
                f"evaluation data {list(self.inputs.shape[1:])}; give both in the same form."
            )
        labels = None if y is None else as_labels(y, len(inputs), self.meta.classes)
        return inputs.to(self.inputs.dtype), labels

    @functools.cached_property
    def training_part(self) -> Subject | None:
        """The same model with its training data to be evaluated on: for evidence about those."""
        if self.train is None:
            return None
        twin = copy.copy(self)
        twin.x, twin.y = self.train
        twin.data_name, twin.sensitive, twin.groups = f"{self.data_name} (training)", {}, None
        twin.train, twin._digests = None, None
        for name in ("clusters", "moments", "training_part", "whole"):
            twin.__dict__.pop(name, None)
        return twin

    def with_network(self, name: str, core: nn.Module, before: nn.Module | None = None) -> Subject:
        """The same data and description with another network, and perhaps something before it."""
        twin = copy.copy(self)
        twin.name = f"{self.name} ({name})"
        twin.core = evaluating(core.to(self.device))
        for parameter in twin.core.parameters():
            parameter.requires_grad_(False)
        if before is not None:
            twin.preprocess = nn.Sequential(before.to(self.device), self.preprocess)
        twin.model = twin.logits_of(twin.core)
        twin.copies, twin.surrogate = {}, None
        twin.__dict__.pop("training_part", None)
        rows = self.inputs[probe_rows(self.n)].to(self.device)
        raw = probe(Network(twin.core, twin.preprocess), rows)
        twin.probe_scores = select_output(raw, self.meta.output_index)
        return twin

    @functools.cached_property
    def moments(self) -> Moments:
        """Mean, spread and bounds of the evaluation data, for every input value."""
        x = self.inputs if self.inputs.is_floating_point() else self.inputs.float()
        pads = self.kind.padding(self, x)
        if pads is None:
            found = x.mean(0), x.std(0), x.amin(0), x.amax(0)
        else:  # over what is part of the samples
            n = (~pads).sum(0)
            mean = x.masked_fill(pads, 0).sum(0) / n.clamp_min(1)
            squares = (x - mean).masked_fill(pads, 0).square().sum(0)
            low, high = (
                x.masked_fill(pads, torch.inf).amin(0),
                x.masked_fill(pads, -torch.inf).amax(0),
            )
            found = (
                mean,
                (squares / (n - 1).clamp_min(1)).sqrt(),
                low.where(n > 0, mean),
                high.where(n > 0, mean),
            )
        return Moments(*(m[None].to(self.device) for m in found))

    @functools.cached_property
    def pad(self) -> Tensor | None:
        """What shorter samples are filled up with, where they are."""
        return None if self.x is None else self.kind.pad(self)

    def tell_padding(self) -> None:
        if self.pad is None:
            return
        pads = self.kind.padding(self, self.inputs)
        assert pads is not None
        self.facts.append(
            Fact(
                name="padding",
                value=f"{float(pads.float().mean()):.0%} of the values",
                source="inferred",
                reason="samples of several lengths end in the same step, over and over; it is never changed, "
                "counted or explained",
            )
        )

    @functools.cached_property
    def whole(self) -> Tensor | None:
        """[1, columns] the numeric features of a table that count in whole numbers; None: none do."""
        if self.x is None or not self.features:
            return None
        whole = (self.x == self.x.round()).all(0, keepdim=True)
        for feature in self.features:
            if feature.kind != "numeric":
                whole[0, feature.columns] = False
            elif feature.whole is not None:
                whole[0, feature.columns] = feature.whole
        return whole.to(self.device) if bool(whole.any()) else None

    # What the model answers

    def logits_of(self, core: nn.Module) -> Logits:
        """A network with the subject's preprocessing, answering with logits."""
        return Logits(core, self.preprocess, self.meta, self.task.threshold(self.meta))

    def scores_of(self, x: Tensor) -> Tensor:
        """[n, k] what the network returns for inputs, held against no threshold."""
        network = Logits(self.core, self.preprocess, self.meta, None)
        return torch.cat(
            [probe(network, part.to(self.device)) for part in x.split(self.batch_size)]
        )

    def logits(self, x: Tensor) -> Tensor:
        """Logits [n, classes] for a batch on any device; gradients flow to `x`."""
        with self.recurrent_backward():
            answers: Tensor = self.model(x.to(self.device))
        if self._heard is not None:
            lost = ~answered(answers.detach())
            if bool(lost.any()):
                self._heard.append(lost.cpu())
        return answers

    @contextmanager
    def listening(self) -> Iterator[list[Tensor]]:
        """Of each call that held NaN or infinity, which rows did."""
        before, self._heard = self._heard, []
        try:
            yield self._heard
        finally:
            self._heard = before

    @contextmanager
    def recurrent_backward(self) -> Iterator[None]:
        """cuDNN refuses to differentiate a recurrent network in eval mode; plain CUDA does not."""
        if self.device.type == "cuda" and any(
            isinstance(m, nn.RNNBase) for m in self.core.modules()
        ):
            with torch.backends.cudnn.flags(enabled=False):
                yield
        else:
            yield

    def batch(self, indices: Sequence[int] | NDArray[np.intp]) -> tuple[Tensor, Tensor]:
        """Inputs and labels of some samples, on the subject's device."""
        index = torch.as_tensor(np.asarray(indices))
        y = self.y[index] if self.y is not None else torch.zeros(len(index), dtype=torch.long)
        return self.inputs[index].to(self.device), y.to(self.device)

    # Its digests

    def weights_digest(self) -> str:
        """sha256 of weights and buffers, with their names."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.core.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor_bytes(tensor))
        return digest.hexdigest()

    def sample_digests(self) -> list[str]:
        """16 hexadecimal digits for each sample: its input and label."""
        if self.x is None:
            return []
        if self._digests is None:
            labels = self.y if self.y is not None else torch.zeros(self.n)
            self._digests = [
                hashlib.blake2b(row.tobytes() + label.tobytes(), digest_size=8).hexdigest()
                for row, label in zip(self.x.numpy(), labels.numpy(), strict=True)
            ]
        return self._digests

    @functools.cached_property
    def clusters(self) -> NDArray[np.str_] | None:
        """[n] labels of samples that are not independent: as given, else of copies of one another."""
        if self.groups is not None or self.x is None:
            return self.groups
        return copies(
            self.sample_digests(),
            self.x.numpy(),
            None if self.y is None else self.y.numpy(),
            [f.columns for f in self.features],
        )

    def copies_told(self) -> list[str]:
        """The note on copies, where they make the clusters."""
        if self.groups is not None or self.clusters is None:
            return []
        more = self.n - len(np.unique(self.clusters))
        return [
            f"{more:,} of {self.n:,} samples {'is a copy' if more == 1 else 'are copies'} of another, "
            "input and label alike; copies count together, as one cluster."
        ]

    def data_digest(self) -> str:
        digest = hashlib.sha256("".join(self.sample_digests()).encode())
        for name in sorted(self.sensitive):
            digest.update(name.encode() + "\0".join(self.sensitive[name]).encode())
        if self.groups is not None:
            digest.update("\0".join(self.groups).encode())
        return digest.hexdigest()

    def behaviour_digest(self) -> str:
        """Digest of what decides the model's answers: weights, code, and a probe batch's scores."""
        digest = hashlib.sha256(self.weights_digest().encode())
        for cls in sorted({type(m) for m in self.core.modules()}, key=lambda c: c.__qualname__):
            try:
                digest.update(inspect.getsource(cls).encode())
            except (OSError, TypeError):
                digest.update(f"{cls.__module__}.{cls.__qualname__}".encode())
        digest.update(self.meta.model_dump_json().encode())
        digest.update(str(self.range_is_inferred).encode())  # what is guessed bounds no attack
        if self.x is not None:
            digest.update(tensor_bytes(self.probe_scores))
        return digest.hexdigest()

    def summary(self) -> SubjectRecord:
        """What the record says of the subject."""
        part = self.training_part if self.x is not None else None
        return SubjectRecord(
            model=self.name,
            architecture=type(self.core).__name__,
            digest=self.weights_digest(),
            parameters=sum(p.numel() for p in self.core.parameters()),
            format=self.format,
            trusted=self.trusted,
            data=self.data_name,
            data_digest=self.data_digest() if self.x is not None else "",
            n=self.n,
            training_n=0 if part is None else part.n,
            training_digest="" if part is None else part.data_digest(),
            task=self.meta.task or "",
            classes=self.classes,
            facts=self.facts,
            notes=[*self.notes, *self.copies_told()],
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


def copied(model: nn.Module) -> nn.Module:
    """A copy of the model.

    Raises:
        AuditError: it cannot be copied.
    """
    # What was computed and kept (old weight_norm does) refuses to be copied; its numbers do not.
    computed = {
        id(value): value.detach().clone()
        for module in model.modules()
        for value in vars(module).values()
        if isinstance(value, Tensor) and not value.is_leaf
    }
    try:
        with torch.no_grad():  # so that the copies of a program's weights are leaves
            return copy.deepcopy(model, dict(computed))
    except Exception as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise AuditError(
            f"The model cannot be copied ({said[:200]}); audit it from a saved state_dict."
        ) from error


def tensor_bytes(tensor: Tensor) -> bytes:
    if tensor.is_quantized:
        tensor = tensor.int_repr()
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""

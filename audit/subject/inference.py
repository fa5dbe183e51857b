"""What kind of model is this? Told from its behaviour on the data, with the reason for each guess."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from audit.errors import AuditError
from audit.inputs import FirstLayer, inferred
from audit.labels import Labels
from audit.meta import SubjectMeta
from audit.outputs import SPREADS, Candidate, candidates, with_spread
from audit.record import Fact
from audit.rooms import INPUTS, TASKS, room
from audit.scores import distance, width
from audit.subject.reading import Choice, read
from audit.subject.wrapping import OutputForm
from audit.tasks import Asked, Settle, Task

if TYPE_CHECKING:
    from audit.subject.network import Network

PROBE = 64
MOST_NUMBERS = 1 << 16  # scores of one sample that are kept
UNUSABLE = "unusable"


def infer_range(x: Tensor) -> tuple[tuple[float, float], str]:
    """The values that inputs can take, from those of the data, and why."""
    there = x[~x.isnan()]
    if len(there) == 0:
        raise AuditError("Every input value is missing; the data hold nothing to audit.")
    low, high = float(there.min()), float(there.max())
    if low >= 0 and high <= 1:
        return (0.0, 1.0), f"all values lie in [{low:.3g}, {high:.3g}]"
    if low >= 0 and high <= 255 and high > 16:
        return (0.0, 255.0), f"all values lie in [{low:.3g}, {high:.3g}]"
    if low == high:
        raise AuditError(f"Every input value is {low:.3g}; the data hold nothing to audit.")
    return (low, high), "the lowest and highest value of the data"


@dataclass(frozen=True)
class Completed:
    """What is known once the model has been asked.

    Attributes:
        meta: the completed description.
        facts: one for each thing known.
        scores: the chosen tensor on the probe, as returned; of a reconstruction the differences.
        extents: of the axes along which its units lie, each with an answer; none where it has one.
    """

    meta: SubjectMeta
    facts: list[Fact]
    scores: Tensor
    extents: tuple[int, ...]


def complete(
    meta: SubjectMeta,
    network: Network,
    x: Tensor,
    y: Tensor | None,
    train_y: Tensor | None = None,
) -> Completed:
    """Fill the gaps of `meta` from the data and the model's behaviour on a probe batch.

    Args:
        network: preprocessing and model, in eval mode.
        x: [n, ...]
        y, train_y: [n] or [n, k] labels as they came, or None.

    Raises:
        AuditError: the model does not accept the data, or what it returns can be read in no way or
            in several.
    """
    meta = meta.model_copy(deep=True)
    facts: list[Fact] = []

    def settle(name: str, given: Any, guess: Any) -> Any:
        if given is not None:
            facts.append(Fact(name=name, value=given, source="given"))
            return given
        value, reason = guess()
        facts.append(Fact(name=name, value=value, source="inferred", reason=reason))
        return value

    meta.input.kind = settle(
        "input kind", meta.input.kind, lambda: inferred(x, first_layer(network, x[:2]))
    )
    kind = room(INPUTS, str(meta.input.kind))
    if kind.common_unit and kind.continuous:
        meta.input.range = settle("input range", meta.input.range, lambda: infer_range(x))
    if meta.input.shape is not None and list(x.shape[1:]) != list(meta.input.shape):
        raise AuditError(
            f"The data have samples of shape {list(x.shape[1:])}, and the model is described as "
            f"taking {list(meta.input.shape)}; give matching data, or correct [subject.input] shape."
        )
    meta.input.shape = list(x.shape[1:])
    rows = probe_rows(len(x))
    labels = Labels.of(train_y if y is None else y)
    choice, scores = choose(network, x[rows], None if y is None else y[rows], labels, meta, facts)
    reading, task = choice.pair.reading, choice.pair.task
    if choice.pair.candidate.index is not None:
        found = choice.pair.candidate.index, choice.reason
        meta.output_index = settle("output index", meta.output_index, lambda: found)
    meta.output = settle("output", meta.output, lambda: (reading.output, choice.said))
    meta.task = settle("task", meta.task, lambda: (task.name, choice.said))
    extents = settle_units(choice, scores, meta, settle)
    laid = form_of(meta).laid(scores)
    task.name_classes(meta, laid.shape[1] if task.units else width(scores), settle)
    check_favourable(meta)
    if meta.favourable is not None:
        facts.append(Fact(name="favourable class", value=meta.favourable, source="given"))
    return Completed(meta, facts, scores, extents)


def settle_units(
    choice: Choice, scores: Tensor, meta: SubjectMeta, settle: Settle
) -> tuple[int, ...]:
    """Where each unit of a sample has an answer: how they lie, and which of them are judged."""
    reading, task = choice.pair.reading, choice.pair.task
    if not task.units:
        return ()
    axis = "last" if reading.classes_last else "first"
    meta.class_axis = settle(
        "class axis", meta.class_axis, lambda: (axis, f"the {axis} one has a score for each class")
    )
    last = meta.class_axis == "last" and scores.ndim > task.units + 1
    extents = tuple(scores.shape[1:-1] if last else scores.shape[-task.units :])
    numbers = scores[0].numel()
    if task.finish() is not None:  # of each unit it keeps a few numbers, whatever it has scores for
        if meta.stride is not None:
            raise AuditError(f"Each unit is judged where the task is {task.name}: take out stride.")
        return extents
    if meta.stride is not None or numbers > MOST_NUMBERS:
        needed = math.ceil((numbers / MOST_NUMBERS) ** (1 / task.units))
        meta.stride = settle(
            "stride",
            meta.stride,
            lambda: (needed, f"a sample has {numbers:,} scores; {MOST_NUMBERS:,} are kept"),
        )
    return extents


def form_of(meta: SubjectMeta, *, threshold: bool = True) -> OutputForm:
    """How the description says that outputs are to be read.

    Args:
        threshold: held against its threshold, where it has one?
    """
    task: Task | None = room(TASKS, meta.task) if meta.task else None
    return OutputForm(
        meta.output,
        meta.output_index,
        task.threshold(meta) if task and threshold else None,
        task.units if task else 0,
        meta.class_axis == "last",
        meta.stride or 1,
        task.finish() if task else None,
    )


def choose(
    network: Network,
    x: Tensor,
    y: Tensor | None,
    labels: Labels,
    meta: SubjectMeta,
    facts: list[Fact],
) -> tuple[Choice, Tensor]:
    """How the answers to a few samples [n, ...] are read, and the scores that are read.

    Args:
        y: of these samples; labels: of all.
        facts: told where no answer is a number.
    """
    raw = probe(network.raw, x)
    found = candidates(
        with_spread(raw) if meta.output in SPREADS else raw, len(x), meta.output_index
    )
    prepared = network.prepared(x)
    asked = Asked(prepared.cpu(), y, labels, meta)
    finite = finite_rows(found)
    if not bool(finite.any()):
        facts.append(unusable(network.core, len(x)))
        finite = ~finite
    choice = read(
        [replace(c, tensor=c.tensor[finite].nan_to_num().cpu()) for c in found],
        replace(asked, inputs=asked.inputs[finite], y=None if y is None else y[finite]),
    )
    index = choice.pair.candidate.index
    scores = next(c.tensor for c in found if c.index == index).nan_to_num()
    if choice.pair.reading.output == "reconstruction":
        scores = distance(scores, prepared)
    return choice, scores


@torch.no_grad()
def first_layer(network: Network, x: Tensor) -> FirstLayer | None:
    """The first layer with weights that samples [n, ...] come to; None where none can be watched."""
    seen: list[FirstLayer] = []

    def watch(name: str) -> Any:
        def hook(layer: nn.Module, given: tuple[Any, ...]) -> None:
            if not seen and given and isinstance(given[0], Tensor):
                seen.append(FirstLayer(type(layer).__name__, name, tuple(given[0].shape)))

        return hook

    layers = [
        (name, layer)
        for name, layer in network.core.named_modules()
        if next(layer.parameters(recurse=False), None) is not None
        and not isinstance(layer, torch.jit.ScriptModule)
    ]
    hooks = [layer.register_forward_pre_hook(watch(name)) for name, layer in layers]
    try:
        network.raw(x.clone())
    except Exception:  # noqa: BLE001 - the probe asks again, and says what is wrong
        return None
    finally:
        for handle in hooks:
            handle.remove()
    return seen[0] if seen else None


def probe_rows(n: int) -> Tensor:
    """Rows to try the model on, evenly spread: data are often sorted."""
    return torch.linspace(0, n - 1, min(n, PROBE)).round().long()


def finite_rows(found: list[Candidate]) -> Tensor:
    """[n] rows in which all candidates are finite; where there are none, in which any is."""
    each = torch.stack([torch.isfinite(c.tensor.reshape(len(c.tensor), -1)).all(1) for c in found])
    return (each.all(0) if bool(each.all(0).any()) else each.any(0)).cpu()


def unusable(core: nn.Module, n: int) -> Fact:
    """The fact that no answer is a number.

    Raises:
        AuditError: the weights are sound, so that it is the data's doing.
    """
    if all(bool(torch.isfinite(p).all()) for p in core.parameters() if p.is_floating_point()):
        raise AuditError(
            f"The model returns NaN or Inf for each of {n} samples though its weights are finite; check "
            "the scale of the inputs and [subject.input.preprocess]."
        )
    return Fact(
        name=UNUSABLE,
        value=f"the model returns NaN or Inf for each of {n} samples",
        source="inferred",
        reason="its answers",
    )


def check_favourable(meta: SubjectMeta) -> None:
    """Raise AuditError where the favourable class is none that the model answers."""
    if meta.favourable is not None and meta.favourable not in (meta.classes or []):
        raise AuditError(
            f"The favourable class {meta.favourable!r} is not among the classes "
            f"({', '.join((meta.classes or [])[:5]) or 'there are none'}); correct [subject] "
            "favourable, or name the classes in [subject] classes."
        )


@torch.no_grad()
def probe(model: Callable[[Tensor], Any], x: Tensor) -> Any:
    """The model's raw answer to a few samples.

    Raises:
        AuditError: it raised; with what it said.
    """
    try:
        return model(x.clone())  # it may write in what it is given
    except Exception as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise AuditError(
            f"The model does not accept the data: on samples of shape {list(x.shape[1:])} "
            f"({str(x.dtype).removeprefix('torch.')}) it says «{said[:300]}»; check the shape, "
            "dtype and [subject.input.preprocess]."
        ) from error


def takes_missing(network: Network, x: Tensor) -> bool:
    """Does it answer with numbers to samples [n, ...] of which each lacks a value?"""
    found = candidates(probe(network.raw, x), len(x))
    return any(bool(torch.isfinite(c.tensor).all()) for c in found)


def accepts(network: Network, x: Tensor) -> bool:
    """Does it answer to such samples at all?"""
    try:
        probe(network.raw, x)
    except AuditError:
        return False
    return True

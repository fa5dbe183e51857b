"""What a notebook holds (a DataLoader, a Dataset, a DataFrame) → arrays of inputs and labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from audit.arrays import as_tensor
from audit.data.table import TARGETS, encode, from_frame
from audit.errors import AuditError
from audit.meta import Feature, SubjectMeta

LABELS = ("labels", "label", "y", "target", "targets")
AT_ONCE = 256  # samples that are read together from a Dataset


@dataclass
class Gathered:
    """Inputs and labels as they were found, and what is to be said of them.

    Attributes:
        x: [n, ...], or a mapping of several inputs. y: [n], or None.
        sensitive, groups, features: of a table, where its columns tell.
    """

    x: Any
    y: Any = None
    sensitive: Mapping[str, Any] = field(default_factory=dict)
    groups: Any = None
    features: list[Feature] | None = None
    notes: list[str] = field(default_factory=list)


def gathered(x: Any, y: Any, meta: SubjectMeta) -> Gathered:
    """What `audit.Subject` is given, as arrays; arrays stay as they are.

    A loader is taken to yield labels beside inputs, where none are given.

    Raises:
        AuditError: a loader yields what is no input, or a table holds what is no number.
    """
    if isinstance(x, Dataset):
        x = DataLoader(x, batch_size=AT_ONCE)
    if isinstance(x, DataLoader):
        return of_batches(x, y is None, y)
    if hasattr(x, "columns") and hasattr(x, "to_numpy"):
        return of_frame(x, y, meta)
    return Gathered(x, y)


def of_frame(frame: Any, y: Any, meta: SubjectMeta) -> Gathered:
    """A DataFrame, whose columns keep their names; that of the labels is taken out where it is named."""
    columns = [str(c) for c in frame.columns]
    frame = frame.set_axis(columns, axis=1)
    if y is None and (meta.target or any(name in columns for name in TARGETS)):
        read = from_frame(frame, meta, "the DataFrame")
        return Gathered(read.x, read.y, read.sensitive, read.groups, read.features)
    features = meta.features or [Feature(name=c, columns=[i]) for i, c in enumerate(columns)]
    return Gathered(encode(frame, features, "the DataFrame"), y, features=features)


def of_batches(batches: Iterable[Any], labels: bool, y: Any) -> Gathered:
    """Everything that a loader yields, one batch after the other.

    A batch is a mapping of inputs (one of `LABELS` holds the labels), a tuple whose last item holds them,
    or a tensor. Batches that were filled up to their own longest sample are filled up to the longest of all.
    """
    inputs: dict[str, list[Tensor]] = {}
    truths: list[Tensor] = []
    for batch in batches:
        named, truth = of_batch(batch, labels)
        if inputs and set(named) != set(inputs):
            raise AuditError(
                f"The loader yields batches of different inputs: {', '.join(inputs)}, then "
                f"{', '.join(named)}; let each batch hold the same."
            )
        for name, values in named.items():
            inputs.setdefault(name, []).append(values)
        if truth is not None:
            truths.append(truth)
    if not inputs:
        raise AuditError("The loader yields no batch; there is nothing to audit.")
    notes: list[str] = []
    whole = {name: joined(name, parts, notes) for name, parts in inputs.items()}
    found = torch.cat(truths) if truths else y
    return Gathered(whole[""] if list(whole) == [""] else by_place(whole), found, notes=notes)


def by_place(whole: dict[str, Tensor]) -> Any:
    """Inputs without names as a tuple, whose names the model's `forward` knows."""
    return tuple(whole.values()) if all(not name or name.isdigit() for name in whole) else whole


def of_batch(batch: Any, labels: bool) -> tuple[dict[str, Tensor], Tensor | None]:
    """Name → [n, ...] the inputs of a batch, and its labels; '' names one that stands alone."""
    if isinstance(batch, Mapping):
        truth = next((name for name in LABELS if labels and name in batch), None)
        named = {str(n): array_of(v, str(n)) for n, v in batch.items() if n != truth}
        return named, None if truth is None else array_of(batch[truth], truth)
    if isinstance(batch, (tuple, list)):
        items = list(batch)
        truth = items.pop() if labels and len(items) > 1 else None
        told = None if truth is None else array_of(truth, "labels")
        if len(items) == 1:
            return of_batch(items[0], False)[0], told
        return {str(i): array_of(v, f"input {i + 1}") for i, v in enumerate(items)}, told
    return {"": array_of(batch, "inputs")}, None


def array_of(values: Any, name: str) -> Tensor:
    """What a batch holds, as a tensor.

    Raises:
        AuditError: it is none.
    """
    if isinstance(values, Tensor):
        return values.detach().cpu()
    array = np.asarray(values) if isinstance(values, (np.ndarray, list, tuple)) else None
    if array is None or array.dtype.kind not in "fiub":
        raise AuditError(
            f"The loader yields {type(values).__name__} as {name!r}, where a tensor of numbers is due; let "
            "its collate_fn return tensors: inputs, then labels."
        )
    return as_tensor(array)


def joined(name: str, parts: list[Tensor], notes: list[str]) -> Tensor:
    """[n, ...] of batches, those with shorter samples filled up with zeros."""
    shapes = {tuple(part.shape[1:]) for part in parts}
    if len(shapes) == 1:
        return torch.cat(parts)
    if len({len(shape) for shape in shapes}) > 1:
        raise AuditError(
            f"The loader yields samples of {' and '.join(map(str, map(list, sorted(shapes))))}; give all "
            "of one form."
        )
    longest = [max(extents) for extents in zip(*shapes, strict=True)]
    notes.append(
        f"The batches of {name or 'the loader'} have samples of several lengths; shorter ones are filled up "
        f"with zeros to {longest}."
    )
    whole = torch.zeros(sum(map(len, parts)), *longest, dtype=parts[0].dtype)
    start = 0
    for part in parts:
        whole[(slice(start, start + len(part)), *(slice(e) for e in part.shape[1:]))] = part
        start += len(part)
    return whole

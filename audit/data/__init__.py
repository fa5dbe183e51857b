"""Files → samples. One reader a format; never pickle.

| given | reader |
|---|---|
| `.npz`, `.safetensors`, `.pt` | `arrays`: `x`, `y`, `sensitive_NAME`, `group`; other names: `roles` |
| `.npy`, `.pt`, a file each | `arrays`: the samples, and beside them their labels |
| `.parquet`, `.csv` | `table`: columns named in the config, encoded by `features` |
| a folder of class folders of pictures | `folder` |
| `pkg.mod:callable` | `callable`: the user's own code |
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from audit.data.roles import CLASSES, role, roles
from audit.errors import AuditError
from audit.labels import as_texts, named
from audit.meta import Feature, SubjectMeta
from audit.record import LeftOut
from audit.rooms import TASKS, room

PAIRS = ("pairs", "same")  # of embeddings: two samples each, and whether they are the same
ALONE = (".npy", ".pt", ".pth")  # may hold a single array
ARRAYS = (".npz", ".safetensors", *ALONE)


@dataclass
class Dataset:
    """Samples as read.

    Attributes:
        x: [n, ...] array; of several inputs a mapping of them.
        y: [n] class indices or values; None where the data hold none.
        sensitive: name → [n] texts or numbers, as they are; None or NaN where missing.
        groups: [n] cluster labels.
        pairs: ([m, 2] numbers of two samples, [m] are they the same?), where they are named.
        features: how a table's columns were encoded, where that was found out here.
        classes: names of the classes, where the data name them.
        range: the lowest and highest value that the format can hold, where it says so.
        left_out: what belongs to the data and was not read.
        notes: what was read as something else than it is.
    """

    x: Any
    y: Any = None
    sensitive: dict[str, Any] = field(default_factory=dict)
    groups: Any = None
    pairs: Any = None
    name: str = ""
    features: list[Feature] | None = None
    classes: list[str] | None = None
    range: tuple[float, float] | None = None
    left_out: list[LeftOut] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def from_mapping(
    mapping: Mapping[str, Any],
    name: str,
    meta: SubjectMeta,
    *,
    training: bool = False,
    takes: Container[str] = (),
) -> Dataset:
    """Samples, labels, `sensitive_NAME` and `group` out of a mapping of arrays; see `roles`.

    Of a model that takes several inputs, every array of no other meaning is one: named as its `forward`
    names them.

    Raises:
        AuditError: there are no samples, or which array is meant is open.
    """
    keys = list(mapping)
    sensitive = {
        key.removeprefix("sensitive_"): mapping[key] for key in keys if key.startswith("sensitive_")
    }
    cluster = meta.groups or "group"
    others = [
        k
        for k in keys
        if role(k) is None and k not in (cluster, *PAIRS) and not k.startswith("sensitive_")
    ]
    for column in meta.sensitive or []:
        if column in others:
            sensitive[column] = mapping[column]
            others.remove(column)
    missing = [column for column in meta.sensitive or [] if column not in sensitive]
    if missing:
        raise AuditError(
            f"{name} holds no array `sensitive_{missing[0]}` or `{missing[0]}`, which [subject] "
            "sensitive names."
        )
    if meta.groups is not None and meta.groups not in keys:
        raise AuditError(f"{name} holds no array `{meta.groups}`, which [subject] groups names.")
    told = class_names(mapping, others)
    classes = None if told is None else told[1]
    others = [k for k in others if k != meta.target and (told is None or k != told[0])]
    chosen = roles(keys, meta, name, training=training, several=len(others) > 1, takes=takes)
    notes = [chosen.note] if chosen.note else []
    if meta.arrays is not None:
        left = [k for k in others if k not in (chosen.x, chosen.y)]
        notes += [f"Not read of {name}: {', '.join(f'`{k}`' for k in left)}."] if left else []
        others = []
    if classes is not None and meta.classes is None:
        meta = meta.model_copy(update={"classes": classes})
    inputs = [k for k in keys if k in (chosen.x, *others) and k]
    y, groups = chosen.y, mapping[cluster] if cluster in keys else None
    read = {k: mapping[k] for k in (*inputs, y, *([cluster] if groups is not None else [])) if k}
    check_lengths({**read, **{f"sensitive_{k}": v for k, v in sensitive.items()}}, inputs[0], name)
    lacking = [key for key in PAIRS if key not in keys]
    if len(lacking) == 1:
        raise AuditError(
            f"{name} holds no array `{lacking[0]}`; named pairs are `pairs` [m, 2] and `same` [m]."
        )
    return Dataset(
        mapping[chosen.x] if inputs == [chosen.x] else {key: mapping[key] for key in inputs},
        encode_labels(mapping[y] if y else None, meta, name),
        sensitive,
        groups,
        None if lacking else (mapping["pairs"], mapping["same"]),
        name,
        classes=classes,
        notes=notes,
    )


def class_names(mapping: Mapping[str, Any], keys: list[str]) -> tuple[str, list[str]] | None:
    """The array that names the classes, and the names; None where none of these does."""
    for key in keys:
        array = np.asarray(mapping[key] if key in CLASSES else 0)
        if array.dtype.kind not in "US":
            continue
        names: list[str] = as_texts(array, f"The names in `{key}`").ravel().tolist()
        if array.ndim == 1 and len(set(names)) == len(names):
            return key, names
    return None


def check_lengths(arrays: Mapping[str, Any], x: str, name: str) -> None:
    """Raise AuditError, naming the file, where an array has not one entry for each sample.

    Args:
        x: the name of an input.
    """
    shapes = {key: np.shape(array) for key, array in arrays.items()}
    samples = shapes[x][:1]
    for key, shape in shapes.items():
        if shape[:1] != samples or not samples:
            held = f"{shape[0]:,} entries" if shape else "a single value"
            due = (
                f"`{x}` holds {samples[0]:,} samples; one entry for each is"
                if samples
                else "samples are"
            )
            raise AuditError(f"{name}: `{key}` holds {held}, and {due} due.")


def encode_labels(y: Any, meta: SubjectMeta, name: str) -> Any:
    """Class names → indices, where the labels are names."""
    if y is None or np.asarray(y).dtype.kind not in "OUS":
        return y
    if meta.task is not None and room(TASKS, meta.task).compares:
        return y  # names of identities stand for no output
    return named(np.asarray(y), meta.classes, f"The labels of {name}")


def read_data(
    source: str, meta: SubjectMeta, *, training: bool = False, takes: Container[str] = ()
) -> Dataset:
    """Read evaluation or training data.

    Args:
        source: a path, or `pkg.mod:callable`.
        training: the samples that the model learnt from are wanted, not those to evaluate on.
        takes: what the model's `forward` calls its inputs.

    Raises:
        AuditError: the source is missing, of no known format, or does not hold what is needed.
    """
    path = Path(source)
    if path.is_dir() and not holds_arrays(path):
        from audit.data.folder import read_folder

        return read_folder(path, meta)
    suffix = path.suffix.lower()
    if path.is_file() or path.is_dir():
        if suffix in ARRAYS or path.is_dir():
            from audit.data.arrays import read_arrays

            return read_arrays(path, meta, training=training, takes=takes)
        if suffix in (".parquet", ".csv"):
            from audit.data.table import read_table

            return read_table(path, meta)
        raise AuditError(
            f"{source}: data are read from .npz, .npy, .pt, .safetensors, .parquet, .csv, a folder of "
            "class folders, or pkg.mod:callable; convert the file."
        )
    if ":" in source and not path.exists() and not suffix[1:].isdigit():
        module, _, name = source.partition(":")
        if module.replace(".", "").replace("_", "").isalnum() and name.isidentifier():
            from audit.data.callable import read_callable

            return read_callable(source, meta, training=training, takes=takes)
    if path.exists():
        raise AuditError(f"{source} is neither a regular file nor a folder; give a file of data.")
    raise AuditError(f"There is no data file {source}; check the path given with --data.")


def holds_arrays(folder: Path) -> bool:
    """Does a folder hold nothing but files, arrays among them?"""
    inside = list(folder.iterdir())
    return any(p.suffix.lower() in ALONE for p in inside) and not any(p.is_dir() for p in inside)

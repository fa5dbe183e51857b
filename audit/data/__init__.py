"""Files → samples. One reader a format; never pickle.

| given | reader |
|---|---|
| `.npz`, `.safetensors` | `arrays` : `x`, `y`, `sensitive_NAME`, `group` |
| `.parquet`, `.csv` | `table`: columns named in the config, encoded by `features` |
| a folder of class folders of pictures | `folder` |
| `pkg.mod:callable` | `callable`: the user's own code |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audit.errors import AuditError
from audit.meta import Feature, SubjectMeta
from audit.record import LeftOut


@dataclass
class Dataset:
    """Samples as read.

    Attributes:
        x: [n, ...] array; of several inputs a mapping of them.
        y: [n] class indices or values; None where the data hold none.
        sensitive: name → [n] texts or numbers, as they are; None or NaN where missing.
        groups: [n] cluster labels.
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
    name: str = ""
    features: list[Feature] | None = None
    classes: list[str] | None = None
    range: tuple[float, float] | None = None
    left_out: list[LeftOut] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def from_mapping(mapping: Mapping[str, Any], name: str, meta: SubjectMeta) -> Dataset:
    """`x`, `y`, `sensitive_NAME` and `group` out of a mapping of arrays.

    Of a model that takes several inputs, every other array is one: named as its `forward` names them.

    Raises:
        AuditError: there is no `x`, and no several others.
    """
    keys = list(mapping)
    sensitive = {
        key.removeprefix("sensitive_"): mapping[key] for key in keys if key.startswith("sensitive_")
    }
    cluster = meta.groups or "group"
    inputs = [k for k in keys if k not in ("y", cluster) and not k.startswith("sensitive_")]
    wanted = meta.sensitive or []
    for column in wanted:
        if column in inputs:
            sensitive[column] = mapping[column]
            inputs.remove(column)
    missing = [column for column in wanted if column not in sensitive]
    if missing:
        raise AuditError(
            f"{name} holds no array `sensitive_{missing[0]}`, which [subject] sensitive names."
        )
    if meta.groups is not None and meta.groups not in keys:
        raise AuditError(f"{name} holds no array `{meta.groups}`, which [subject] groups names.")
    if len(inputs) < 2 and "x" not in inputs:
        raise AuditError(
            f"{name} holds {', '.join(keys) or 'nothing'} and no array `x`; name it so."
        )
    check_lengths({key: mapping[key] for key in (*inputs, *keys)}, name)
    y = mapping["y"] if "y" in keys else None
    return Dataset(
        mapping["x"] if inputs == ["x"] else {key: mapping[key] for key in inputs},
        encode_labels(y, meta, name),
        sensitive,
        mapping[cluster] if cluster in keys else None,
        name,
    )


def check_lengths(arrays: Mapping[str, Any], name: str) -> None:
    """Raise AuditError, naming the file, where an array has not one entry for each sample.

    Args:
        arrays: an input first.
    """
    import numpy as np

    shapes = {key: np.shape(array) for key, array in arrays.items()}
    first = "x" if "x" in shapes else next(iter(shapes))
    samples = shapes[first][:1]
    for key, shape in shapes.items():
        if shape[:1] != samples or not samples:
            held = f"{shape[0]:,} entries" if shape else "a single value"
            due = (
                f"`{first}` holds {samples[0]:,} samples; one entry for each is"
                if samples
                else "samples are"
            )
            raise AuditError(f"{name}: `{key}` holds {held}, and {due} due.")


def encode_labels(y: Any, meta: SubjectMeta, name: str) -> Any:
    """Class names → indices, where the labels are names."""
    import numpy as np

    from audit.labels import named

    if y is None or np.asarray(y).dtype.kind not in "OUS":
        return y
    return named(np.asarray(y), meta.classes, f"The labels of {name}")


def read_data(source: str, meta: SubjectMeta) -> Dataset:
    """Read evaluation or training data.

    Args:
        source: a path, or `pkg.mod:callable`.

    Raises:
        AuditError: the source is missing, of no known format, or does not hold what is needed.
    """
    path = Path(source)
    if path.is_dir():
        from audit.data.folder import read_folder

        return read_folder(path, meta)
    suffix = path.suffix.lower()
    if path.is_file():
        if suffix in (".npz", ".safetensors"):
            from audit.data.arrays import read_arrays

            return read_arrays(path, meta)
        if suffix in (".parquet", ".csv"):
            from audit.data.table import read_table

            return read_table(path, meta)
        raise AuditError(
            f"{source}: data are read from .npz, .safetensors, .parquet, .csv, a folder of class "
            "folders, or pkg.mod:callable; convert the file."
        )
    if ":" in source and not path.exists() and not suffix[1:].isdigit():
        module, _, name = source.partition(":")
        if module.replace(".", "").replace("_", "").isalnum() and name.isidentifier():
            from audit.data.callable import read_callable

            return read_callable(source, meta)
    if path.exists():
        raise AuditError(f"{source} is neither a regular file nor a folder; give a file of data.")
    raise AuditError(f"There is no data file {source}; check the path given with --data.")

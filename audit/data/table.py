"""parquet and CSV: a target, sensitive columns, and features encoded as the model expects them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from audit.data import Dataset, encode_labels
from audit.errors import AuditError
from audit.meta import Feature, SubjectMeta


def read_table(path: Path, meta: SubjectMeta) -> Dataset:
    """Rows of a table, its columns encoded by `meta.features` (all others as plain numbers).

    Raises:
        AuditError: the file is damaged, a column is missing or not what its description says.
    """
    try:
        frame = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    except Exception as error:  # noqa: BLE001 - readers raise what they like
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise AuditError(f"{path} cannot be read as a table: {said[:200]}.") from None
    return from_frame(frame, meta, path.name)


def from_frame(frame: pd.DataFrame, meta: SubjectMeta, name: str) -> Dataset:
    """The same for a frame in memory."""

    def column(key: str, what: str) -> pd.Series:
        if key not in frame.columns:
            raise AuditError(
                f"{name} has no column {key!r} ({what}); its columns are "
                f"{', '.join(map(str, frame.columns[:8]))}{', …' if len(frame.columns) > 8 else ''}."
            )
        return frame[key]

    target = meta.target
    if target is None:
        for guess in ("target", "label", "y"):
            if guess in frame.columns:
                target = guess
                break
    y = None if target is None else column(target, "[subject] target").to_numpy()
    sensitive = {
        key: column(key, "[subject] sensitive").astype(str).to_numpy()
        for key in meta.sensitive or []
    }
    groups = None if meta.groups is None else column(meta.groups, "[subject] groups").to_numpy()
    features = meta.features
    if features is None:
        used = {target, meta.groups, *sensitive}
        names = [str(c) for c in frame.columns if c not in used]
        features = [Feature(name=c, columns=[i]) for i, c in enumerate(names)]
    x = encode(frame, features, name)
    return Dataset(x, encode_labels(y, meta, name), sensitive, groups, name, features)


def encode(frame: pd.DataFrame, features: list[Feature], name: str) -> np.ndarray:
    """[n, columns] float32: numeric features as they are, categories as one-hot columns.

    Raises:
        AuditError: a column is missing, or holds what its description does not allow.
    """
    width = 1 + max(c for f in features for c in f.columns)
    x = np.zeros((len(frame), width), dtype=np.float32)
    for feature in features:
        if feature.name not in frame.columns:
            raise AuditError(f"{name} has no column {feature.name!r}, which [subject] features names.")
        values = frame[feature.name]
        if feature.kind == "numeric":
            numbers = pd.to_numeric(values, errors="coerce")
            bad = numbers.isna()
            if bad.any():
                shown = values[bad].iloc[0]
                raise AuditError(
                    f"The column {feature.name!r} of {name} holds {shown!r} where a number is due "
                    f"({int(bad.sum())} rows); clean it, or describe it as categorical."
                )
            x[:, feature.columns[0]] = numbers.to_numpy(dtype=np.float32)
            continue
        labels = values.astype(str)
        categories = feature.categories or sorted(labels.unique())
        position = {category: c for category, c in zip(categories, feature.columns, strict=True)}
        strangers = sorted(set(labels.unique()) - set(position))
        if strangers:
            raise AuditError(
                f"The column {feature.name!r} of {name} holds {strangers[0]!r}, which is not among "
                "its categories; add it, or drop those rows."
            )
        x[np.arange(len(frame)), labels.map(position).to_numpy(dtype=np.intp)] = 1.0
    return x

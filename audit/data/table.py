"""parquet and CSV: a target, sensitive columns, and features encoded as the model expects them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audit.data import Dataset, encode_labels
from audit.errors import AuditError
from audit.meta import Feature, SubjectMeta
from audit.people import MISSING, as_numbers, as_text, missing

TARGETS = ("target", "label", "y")
LONGEST = 80  # characters of a cell that are shown
MOST_COLUMNS = 50_000
MOST_LINE = 16 << 20  # bytes of a CSV
MOST_UNPACKED = 512 << 20  # bytes that any parquet file may unpack to
MOST_TIMES = 50  # as many as it holds itself
EMPTY = (MISSING, "", "nan", "None")  # a category of one of these names stands for empty cells


def read_table(path: Path, meta: SubjectMeta) -> Dataset:
    """Rows of a table, its columns encoded by `meta.features` (all others as plain numbers).

    A cell of a CSV is missing where it is empty; "NA", "None" and "nan" are texts like others.

    Raises:
        AuditError: the file is damaged, a column is missing or not what its description says.
    """
    parquet = path.suffix.lower() == ".parquet"
    try:
        (require_small_parquet if parquet else require_narrow)(path)
        if parquet:
            frame = pd.read_parquet(path)
        else:
            frame = pd.read_csv(
                path, keep_default_na=False, na_values=[""], dtype=dict.fromkeys(texts(meta), str)
            )
    except AuditError:
        raise
    except Exception as error:  # noqa: BLE001 - readers raise what they like
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise AuditError(f"{path} cannot be read as a table: {said[:200]}.") from None
    return from_frame(frame, meta, path.name)


def require_narrow(path: Path) -> None:
    """Raise AuditError where a CSV has more columns, or a longer line, than is read."""
    longest = columns = 0
    with path.open("rb") as file:
        columns = file.readline(MOST_LINE + 1).count(b",") + 1
        file.seek(0)
        held = 0  # bytes of the line so far
        while block := file.read(1 << 20):
            first, last = block.find(b"\n"), block.rfind(b"\n")
            longest = max(longest, held + (first if first >= 0 else len(block)))
            held = held + len(block) if last < 0 else len(block) - last - 1
            if longest > MOST_LINE:
                break
    if columns > MOST_COLUMNS:
        raise AuditError(
            f"{path} has {columns:,} columns, and at most {MOST_COLUMNS:,} are read; save so many "
            "numbers as arrays (.npz)."
        )
    if longest > MOST_LINE:
        raise AuditError(
            f"{path} holds a line of more than {MOST_LINE >> 20} MiB; is a quotation mark or a line "
            "end missing?"
        )


def require_small_parquet(path: Path) -> None:
    """Raise AuditError where a parquet file has more columns, or unpacks to far more, than is read."""
    from pyarrow.parquet import read_metadata  # type: ignore[import-untyped]

    told = read_metadata(path)
    if told.num_columns > MOST_COLUMNS:
        raise AuditError(
            f"{path} has {told.num_columns:,} columns, and at most {MOST_COLUMNS:,} are read; save so "
            "many numbers as arrays (.npz)."
        )
    size = path.stat().st_size
    unpacked = sum(told.row_group(i).total_byte_size for i in range(told.num_row_groups))
    unpacked = max(unpacked, 8 * told.num_rows * told.num_columns)
    if unpacked > max(MOST_UNPACKED, MOST_TIMES * size):
        raise AuditError(
            f"{path} holds {size >> 20:,} MiB and unpacks to {unpacked >> 20:,}; save what is meant "
            "as arrays (.npz)."
        )


def texts(meta: SubjectMeta) -> set[str]:
    """The columns of a CSV whose cells stay as they are written: "01" is a code, "NA" a region."""
    named = {f.name for f in meta.features or [] if f.kind == "categorical"}
    named |= {*(meta.sensitive or []), *(meta.targets or []), *TARGETS}
    return named | {name for name in (meta.groups, meta.target) if name}


def from_frame(frame: pd.DataFrame, meta: SubjectMeta, name: str) -> Dataset:
    """The same for a frame in memory."""

    def column(key: str, what: str) -> pd.Series:
        if key not in frame.columns:
            raise AuditError(f"{name} has no column {key!r} ({what}); {columns_of(frame)}.")
        return frame[key]

    if not len(frame):
        raise AuditError(f"{name} has no rows; give a table with samples.")
    targets = targets_of(frame, meta, name)
    each = [labels(column(target, "[subject] target"), target, name) for target in targets]
    y = several(each, targets, name) if len(each) > 1 else each[0] if each else None
    sensitive = {
        key: column(key, "[subject] sensitive").to_numpy(dtype=object)
        for key in meta.sensitive or []
    }
    groups = None
    if meta.groups is not None:
        groups = column(meta.groups, "[subject] groups").to_numpy(dtype=object)
    features = meta.features
    used = {*targets, meta.groups, *sensitive}
    inputs = [str(c) for c in frame.columns if c not in used]
    if any(holds_lists(frame[c]) for c in inputs):
        parts = {c: stacked(frame[c], c, name) for c in inputs}
        return Dataset(parts, encode_labels(y, meta, name), sensitive, groups, name=name)
    if features is None:
        if not inputs:
            raise AuditError(f"{name} holds no column that may be an input; {columns_of(frame)}.")
        features = [Feature(name=c, columns=[i]) for i, c in enumerate(inputs)]
    x = encode(frame, features, name)
    return Dataset(x, encode_labels(y, meta, name), sensitive, groups, name=name, features=features)


def holds_lists(values: pd.Series) -> bool:
    """Does each cell hold several numbers, as a text's words are kept?"""
    return (
        values.dtype == object
        and len(values) > 0
        and isinstance(values.iloc[0], (list, np.ndarray))
    )


def stacked(values: pd.Series, column: str, name: str) -> NDArray[np.generic]:
    """[n, ...] one of several inputs, out of a column of lists, or of numbers.

    Raises:
        AuditError: the lists are of several lengths, or hold no numbers.
    """
    if not holds_lists(values):
        return values.to_numpy()
    cells = [np.asarray(cell.tolist() if isinstance(cell, np.ndarray) else cell) for cell in values]
    shapes = {cell.shape for cell in cells}
    if len(shapes) > 1:
        raise AuditError(
            f"The column {column!r} of {name} holds lists of {len(shapes)} lengths; fill the shorter ones "
            "up, and say with a mask how far each goes."
        )
    return np.stack(cells)


def columns_of(frame: pd.DataFrame) -> str:
    """'its columns are a, b, …', for a sentence about one that is not there."""
    more = ", …" if len(frame.columns) > 8 else ""
    return f"its columns are {', '.join(map(str, frame.columns[:8]))}{more}"


def targets_of(frame: pd.DataFrame, meta: SubjectMeta, name: str) -> list[str]:
    """The columns of the labels: of an answer of several values, those that its values are called by.

    Raises:
        AuditError: nobody says which they are, and none or several are called as labels are.
    """
    if meta.target is None and meta.targets:
        return list(meta.targets)
    one = target_of(frame, meta, name)
    return [] if one is None else [one]


def several(each: list[NDArray[np.generic]], targets: list[str], name: str) -> NDArray[np.generic]:
    """[n, targets] of columns of numbers.

    Raises:
        AuditError: one holds names.
    """
    for values, target in zip(each, targets, strict=True):
        if values.dtype.kind not in "fi":
            raise AuditError(
                f"The column {target!r} of {name} holds names ({values[0]}), and of several targets each is "
                "a number; name one column of classes with [subject] target."
            )
    return np.stack(each, 1)


def target_of(frame: pd.DataFrame, meta: SubjectMeta, name: str) -> str | None:
    """The column of the labels; None where there are none, which `target = ""` says.

    Raises:
        AuditError: nobody says which it is, and none or several are called as labels are.
    """
    if meta.target is not None:
        return meta.target or None
    called = [guess for guess in TARGETS if guess in frame.columns]
    if len(called) == 1:
        return called[0]
    which = f"several columns that may hold the labels ({', '.join(called)})"
    if not called:
        which = f"no column called {', '.join(TARGETS[:-1])} or {TARGETS[-1]}"
    raise AuditError(
        f"{name} has {which}; {columns_of(frame)}: name the column of the labels with "
        '--target, or [subject] target ("" where the data hold none); several, as the outputs or the time '
        'and the event of survival, with targets = ["…", "…"].'
    )


def labels(values: pd.Series, target: str, name: str) -> NDArray[np.generic]:
    """[n] numbers where all are, else names.

    Raises:
        AuditError: some are missing.
    """
    items = values.to_numpy(dtype=object)
    empty = missing(items)
    if empty.any():
        raise AuditError(
            f"{int(empty.sum()):,} of {len(items):,} rows of {name} have no label in {target!r}; drop "
            "those rows or fill them."
        )
    numbers = as_numbers(items, empty)
    if numbers is None:
        return np.array([as_text(item) for item in items.tolist()], dtype=np.str_)
    whole = all(
        item.lstrip("+-").isdigit() if isinstance(item, str) else isinstance(item, int)
        for item in items.tolist()
    )
    return numbers.astype(np.int64) if whole else numbers


def encode(frame: pd.DataFrame, features: list[Feature], name: str) -> NDArray[np.float32]:
    """[n, columns] float32: numeric features as they are, categories as one-hot columns.

    Raises:
        AuditError: a column is missing, or holds what its description does not allow.
    """
    width = 1 + max(c for f in features for c in f.columns)
    x = np.zeros((len(frame), width), dtype=np.float32)
    for feature in features:
        if feature.name not in frame.columns:
            raise AuditError(
                f"{name} has no column {feature.name!r}, which [subject] features names; "
                f"{columns_of(frame)}."
            )
        values = frame[feature.name]
        if feature.kind == "numeric":
            numbers = pd.to_numeric(values, errors="coerce")
            # An empty cell is missing, which the model may take.
            bad = numbers.isna() & ~missing(values.to_numpy(dtype=object))
            if bad.any():
                shown = repr(values[bad].iloc[0])[:LONGEST]
                raise AuditError(
                    f"The column {feature.name!r} of {name} holds {shown} where a number is due "
                    f"({int(bad.sum())} rows); clean it, or describe it as categorical."
                )
            x[:, feature.columns[0]] = numbers.to_numpy(dtype=np.float32)
        else:
            x[np.arange(len(frame)), one_hot(values, feature, name)] = 1.0
    return x


def one_hot(values: pd.Series, feature: Feature, name: str) -> NDArray[np.intp]:
    """[n] the column that is 1.

    Raises:
        AuditError: a cell holds none of the categories.
    """
    items = values.to_numpy(dtype=object)
    empty = missing(items)
    said = np.array([as_text(item) for item in items.tolist()], dtype=object)
    said[empty] = MISSING
    categories = feature.categories or sorted(set(said))
    position = dict(zip(categories, feature.columns, strict=True))
    if empty.any():
        stands = next((c for c in EMPTY if c in position), None)
        if stands is None:
            raise AuditError(
                f"The column {feature.name!r} of {name} is empty in {int(empty.sum()):,} rows and none "
                f"of its categories stands for that; add {MISSING!r}, or drop those rows."
            )
        position[MISSING] = position[stands]
    strangers = sorted(set(said) - set(position))
    if strangers:
        raise AuditError(
            f"The column {feature.name!r} of {name} holds {strangers[0]!r}, which is not among "
            "its categories; add it, or drop those rows."
        )
    return np.array([position[label] for label in said], dtype=np.intp)

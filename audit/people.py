"""What names people's groups, as it comes (texts, numbers, ages, cells left empty) → one label each.

An empty cell (None, NaN, NaT, "") is the group "missing" and nothing else is: "NA", "None" and "nan"
are texts that somebody wrote. Numbers with more than `MOST_NUMBERS` different values are cut into
bins, as groups of one person each would say nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit.errors import AuditError
from audit.text import clean_names

MISSING = "missing"
MOST_NUMBERS = 12  # different numbers that are groups of their own
BINS = 5
CONVERTED = (
    "nan",
    "NaN",
    "NaT",
    "None",
    "<NA>",
)  # what becomes of an empty cell that is made a text


def group_labels(
    values: Any, n: int, name: str, edges: Sequence[float] | None = None
) -> tuple[NDArray[np.str_], list[str]]:
    """A sensitive attribute as groups.

    Args:
        values: [n] texts, numbers or dates; None, NaN or "" where missing.
        edges: where numbers are cut; each is the lowest value of the bin above it.

    Returns:
        ([n] labels, notes for the reader).

    Raises:
        AuditError: it is not one value a sample, or edges are given for texts.
    """
    what = f"sensitive column {name!r}"
    items = one_each(values, n, what)
    empty = missing(items)
    notes = []
    numbers = as_numbers(items, empty)
    distinct = 0 if numbers is None else len(np.unique(numbers[~empty]))
    if numbers is None and edges is not None:
        raise AuditError(
            f"[subject] sensitive_bins cuts {name!r}, which holds texts; bins are for numbers."
        )
    if numbers is not None and (edges is not None or distinct > MOST_NUMBERS):
        given = edges is not None
        cuts = (
            np.unique(np.asarray(edges, dtype=np.float64)) if given else quantiles(numbers[~empty])
        )
        names = bin_names(cuts)
        labels = np.array(names)[np.searchsorted(cuts, np.where(empty, 0, numbers), side="right")]
        if not given:
            notes.append(
                f"{name} holds {distinct:,} different numbers and is compared in {len(names)} bins of "
                f"about as many people ({'; '.join(names)}); set the edges by [subject] "
                f"sensitive_bins = {{{toml_key(name)} = [{', '.join(map(shown, cuts))}]}}."
            )
    else:
        shared = items if numbers is None else numbers  # "1.0" and 1 are one group
        labels = texts(shared, what)
    labels = np.where(empty, MISSING, labels)
    if empty.any():
        notes.append(
            f"{name} is missing for {int(empty.sum()):,} of {n:,} samples, which are compared as the "
            f'group "{MISSING}": find out who they are; people without an entry are seldom a random '
            "part of all."
        )
    for text in CONVERTED:
        count = int((labels[~empty] == text).sum())
        if count:
            notes.append(
                f"{name} is the text {text!r} for {count:,} samples, which is taken for a group of "
                "that name; leave the value empty where it is missing."
            )
    return labels, notes


def cluster_labels(values: Any, n: int) -> tuple[NDArray[np.str_], list[str]]:
    """What names the clusters of samples, as `group_labels`; what has no name is one cluster."""
    items = one_each(values, n, "group column")
    empty = missing(items)
    labels = texts(items, "group column")
    notes = []
    if empty.any():
        notes.append(
            f"{int(empty.sum()):,} of {n:,} samples name no cluster and are counted as one; say where "
            "each comes from, as intervals rest on it."
        )
    return np.where(empty, MISSING, labels), notes


def one_each(values: Any, n: int, what: str) -> NDArray[Any]:
    """[n] objects. A list keeps its None and NaN, of which numpy would make texts."""
    if isinstance(values, (list, tuple)):
        items = np.empty(len(values), dtype=object)
        items[:] = values
    else:
        items = np.asarray(values)
    if items.dtype.kind == "M":
        # Of dates the year counts: a day each is a group of its own.
        years = items.astype("datetime64[Y]").astype(np.int64) + 1970.0
        items = np.where(np.isnat(items), np.nan, years)
    if items.shape != (n,):
        raise AuditError(
            f"The {what} has shape {list(items.shape)} and there are {n} samples; one label for "
            "each is due."
        )
    return items.astype(object)


def missing(items: NDArray[Any]) -> NDArray[np.bool_]:
    """[n] is nothing said there?"""
    import pandas as pd

    empty: NDArray[np.bool_] = np.asarray(pd.isna(items), dtype=bool)
    blank = [isinstance(item, str) and not item.strip() for item in items.tolist()]
    return empty | np.array(blank, dtype=bool)


def as_numbers(items: NDArray[Any], empty: NDArray[np.bool_]) -> NDArray[np.float64] | None:
    """[n] floats (NaN where missing); None where some are no numbers.

    Texts count as numbers where each is one ("41", "41.5"); "0041" is a code.
    """
    numbers = np.full(len(items), np.nan)
    for i in np.flatnonzero(~empty):
        item = items[i]
        if isinstance(item, (bool, np.bool_)):
            return None
        if isinstance(item, str):
            digits = item.strip().lstrip("+-")
            if digits[:1] not in "0123456789." or (digits[:1] == "0" and digits[1:2].isdigit()):
                return None
        try:
            numbers[i] = float(item)
        except (TypeError, ValueError):
            return None
    return numbers if np.isfinite(numbers[~empty]).all() and not empty.all() else None


def as_text(item: Any) -> str:
    """A label as it is shown: whole numbers without a fraction, whatever type they came in."""
    if isinstance(item, bytes):
        return item.decode(errors="replace")
    if isinstance(item, (float, np.floating)) and float(item).is_integer():
        return str(int(item))
    return str(item)


def texts(items: NDArray[Any], what: str) -> NDArray[np.str_]:
    """[n] labels fit to be shown.

    Raises:
        AuditError: two become the same when what is unfit is taken out.
    """
    labels = [as_text(item) for item in items.tolist()]
    names = list(dict.fromkeys(labels))
    try:
        shown_ = dict(zip(names, clean_names(names, f"labels of the {what}"), strict=True))
    except ValueError as error:
        raise AuditError(f"{str(error)[0].upper()}{str(error)[1:]}.") from None
    return np.array([shown_[label] for label in labels], dtype=np.str_)


def quantiles(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Edges of at most `BINS` bins of about as many each, as round as the numbers' range allows."""
    low, high = float(numbers.min()), float(numbers.max())
    places = int(np.ceil(np.log10(30 / (high - low))))  # a thirtieth of the range, or finer
    cuts = np.quantile(numbers, np.arange(1, BINS) / BINS)
    cuts = np.unique(np.round(cuts, places))
    cuts = cuts[(cuts > low) & (cuts <= high)]
    # Where nearly all hold the lowest number, what is above it is the other bin.
    return cuts if len(cuts) else np.array([numbers[numbers > low].min()])


def bin_names(cuts: NDArray[np.float64]) -> list[str]:
    """Names of the bins between the edges: 'under 25', '25 to under 60', '60 and over'."""
    edges = [shown(cut) for cut in cuts]
    if not edges:
        raise AuditError("[subject] sensitive_bins holds no edge; give at least one number.")
    between = [f"{a} to under {b}" for a, b in pairwise(edges)]
    return [f"under {edges[0]}", *between, f"{edges[-1]} and over"]


def shown(number: float) -> str:
    """A number as it was written in the config, without digits of its floating point."""
    return f"{number:.12g}"


def toml_key(name: str) -> str:
    """A name as a key of the config, quoted where it has to be."""
    bare = name.replace("_", "").replace("-", "")
    return name if bare.isascii() and bare.isalnum() else json.dumps(name, ensure_ascii=False)

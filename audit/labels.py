"""Labels as they come → what the audit holds the model's answers against.

They come as names, truths, −1 and 1, one-hot rows or values; wherever they are not taken as they stand,
there is a reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from audit.arrays import as_tensor
from audit.errors import AuditError


class UnorderedClasses(AuditError):
    """The labels are names, and their order is not known."""

    def __init__(self, message: str, names: list[str]) -> None:
        super().__init__(message)
        self.names = names


TRUTHS = {"False", "True"}
MOST = 1000  # values that are told apart


def as_labels(y: Any, n: int, classes: list[str] | None = None) -> Tensor:
    """Labels as numbers: [n] or [n, k], whole ones as int64.

    Args:
        classes: the names of the model's outputs, in their order.

    Raises:
        AuditError: they are no numbers and no names of classes, are not one for each sample, or
            hold NaN or Inf.
    """
    if not isinstance(y, Tensor):
        array = np.asarray(y)
        if array.dtype.kind in "OUS" or (array.dtype == bool and set(classes or []) == TRUTHS):
            array = named(array, classes)
        if array.dtype.kind not in "fiub":
            raise AuditError(
                f"The labels hold {array.dtype.name} values where class indices or numbers are due; "
                "number them as the model's outputs are numbered, or name them in [subject] classes."
            )
        y = as_tensor(array)
    y = y.detach().cpu()
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim == 0 or len(y) != n:
        count = 1 if y.ndim == 0 else len(y)
        raise AuditError(f"There are {n} samples and {count} labels; one label for each is due.")
    if y.is_floating_point() and not bool(torch.isfinite(y).all()):
        raise AuditError("Some labels are NaN or Inf; drop those samples.")
    return y if y.is_floating_point() else y.long()


def as_numbers(array: np.ndarray) -> np.ndarray:
    """An array of Python objects as numbers, where all of them are; else as it is."""
    flat = array.ravel().tolist()
    if all(isinstance(v, (bool, int, float)) for v in flat):
        return np.array(flat).reshape(array.shape)
    return array


def as_texts(array: np.ndarray, what: str) -> np.ndarray:
    """An array as strings; bytes as UTF-8.

    Raises:
        AuditError: they are bytes of another encoding.
    """
    if array.dtype.kind != "S":
        return array.astype(str)
    try:
        return np.char.decode(array, "utf-8")
    except UnicodeDecodeError:
        raise AuditError(
            f"{what} are bytes that are no UTF-8; decode them, and save them as strings."
        ) from None


def named(array: np.ndarray, classes: list[str] | None, what: str = "The labels") -> np.ndarray:
    """Names of classes as their indices; objects that are numbers, as numbers.

    Raises:
        AuditError: the classes are not named, or others.
    """
    if array.dtype.kind == "O":
        array = as_numbers(array)
        if array.dtype.kind != "O" and not (array.dtype == bool and set(classes or []) == TRUTHS):
            return array
    labels = as_texts(array, what)
    seen = sorted(set(labels.ravel().tolist()))
    shown = ", ".join(seen[:5]) + (", …" if len(seen) > 5 else "")
    if classes is None:
        listed = ", ".join(f'"{name}"' for name in seen) if len(seen) <= 10 else '"…"'
        many = len(seen) > 10
        whose = ', or task = "embedding" where they say whose each sample is' if many else ""
        raise UnorderedClasses(
            f"{what} are names ({shown}) and nobody said which output stands for which; write "
            f"classes = [{listed}] under [subject], in the order of the model's outputs{whose}.",
            seen,
        )
    index = {name: i for i, name in enumerate(classes)}
    strangers = [name for name in seen if name not in index]
    if strangers:
        raise AuditError(
            f"{what} hold {strangers[0]!r}, which is not among the classes "
            f"({', '.join(classes[:5])}{', …' if len(classes) > 5 else ''}); correct [subject] classes."
        )
    return np.vectorize(index.__getitem__, otypes=[np.int64])(labels)


@dataclass(frozen=True)
class Labels:
    """What the labels of the evaluation data (or else of the training data) look like."""

    shape: tuple[int, ...]  # () where there are none
    whole: bool
    values: tuple[
        float, ...
    ]  # those that occur, ascending; of very many the lowest and the highest
    one_hot: bool  # rows of zeros and a single one

    @classmethod
    def of(cls, y: Tensor | None) -> Labels:
        if y is None:
            return cls((), False, (), False)
        values = y.double()
        whole = bool((values == values.round()).all())
        seen = tuple(values.unique().tolist())
        seen = seen if len(seen) <= MOST else (*seen[: MOST - 1], seen[-1])
        rows = y.ndim == 2 and set(seen) == {0.0, 1.0} and bool((values.sum(1) == 1).all())
        return cls(tuple(y.shape), whole, seen, rows)

    @property
    def given(self) -> bool:
        return bool(self.shape)

    @property
    def several(self) -> bool:
        """Is there more than one number a sample?"""
        return len(self.shape) > 1

    @property
    def two(self) -> bool:
        return not self.several and len(self.values) == 2

    @property
    def truths(self) -> bool:
        """Nothing but 0 and 1."""
        return not self.several and self.given and set(self.values) <= {0.0, 1.0}

    def fit(self, k: int, classes: list[str] | None = None) -> bool:
        """Can they be labels of k classes?"""
        if not self.given:
            return True
        if self.several:
            return self.one_hot and self.shape[1] == k
        if self.indices(k) or (self.two and k == 2):
            return True
        return self.whole and classes is not None and self.called(classes)

    def indices(self, k: int) -> bool:
        return self.whole and not self.several and 0 <= min(self.values) <= max(self.values) < k

    def called(self, classes: list[str]) -> bool:
        """Are they, as numbers, the names of the classes?"""
        return {f"{v:g}" for v in self.values} <= set(classes)

    @property
    def wanted(self) -> int | None:
        """The number of classes that they speak of, where they say one."""
        if not self.given or not self.whole:
            return None
        if self.several:
            return self.shape[1] if self.one_hot else None
        return 2 if self.two else max(2, int(max(self.values)) + 1)

    def numbering(self, classes: list[str]) -> tuple[dict[float, int] | None, str]:
        """Value → index of its class, and why; None where the labels are indices already."""
        k = len(classes)
        if self.several or not self.given or self.indices(k):
            return None, ""
        if self.whole and self.called(classes):
            return {
                float(v): classes.index(f"{v:g}") for v in self.values
            }, "they are the classes' names"
        if self.two and k == 2:
            return {
                v: i for i, v in enumerate(self.values)
            }, "two values for two classes, the lower first"
        return None, ""

"""Arrays → tensors that can be audited, or a sentence about what is wrong with them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

from audit.errors import AuditError


def as_inputs(x: Any, precision: torch.dtype = torch.float32) -> Tensor:
    """Inputs as a tensor, or a sentence about what is wrong with them.

    What is missing is NaN; whether the model takes that, only the model can tell.

    Args:
        precision: of the model; numbers are held in doubles only where it computes in doubles.
    """
    if not isinstance(x, Tensor):
        array = np.asarray(x)
        if array.dtype.kind not in "fiub":
            raise AuditError(
                f"The inputs hold {array.dtype.name} values where numbers are due; encode them, or "
                "describe the columns under [[subject.features]]."
            )
        if array.dtype.kind == "f" and array.dtype.itemsize > 8:
            array = array.astype(np.float64)
        x = as_tensor(array)
    x = x.detach().cpu()
    if x.dtype == torch.bool or x.is_floating_point():
        x = x.double() if precision == torch.float64 else x.float()
    if x.ndim < 2:
        raise AuditError(
            f"The inputs have shape {list(x.shape)}; a first axis of samples and at least one of "
            "values is needed."
        )
    if len(x) < 2:
        raise AuditError(
            f"The data hold {len(x)} sample{'s' if len(x) != 1 else ''}; nothing can be said with "
            "an interval from fewer than 2."
        )
    if bool(x.isinf().any()):
        raise AuditError(not_numbers(x))
    return x


def not_numbers(x: Tensor) -> str:
    """The sentence about samples [n, ...] that hold NaN or infinity."""
    lost = ~torch.isfinite(x.reshape(len(x), -1)).all(1)
    return (
        f"{int(lost.sum())} of {len(x)} samples hold NaN or Inf (the first is number "
        f"{int(lost.nonzero()[0])}); fill or drop them as the model's users do."
    )


def has_channels_last(x: Tensor) -> bool:
    """Are these [n, ...] pictures with their channels on the last axis?"""
    few = (1, 2, 3, 4)
    return x.ndim == 4 and x.shape[1] not in few and x.shape[-1] in few


def as_tensor(array: np.ndarray) -> Tensor:
    """The array as a tensor that shares its memory, which nobody here writes to."""
    if not array.dtype.isnative:  # the other order of bytes, which torch does not know
        array = array.astype(array.dtype.newbyteorder("="))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a read-only array is only read
        return torch.from_numpy(np.ascontiguousarray(array))

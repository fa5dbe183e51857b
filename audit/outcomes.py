"""Outcomes of single samples, a bit each, as a record keeps them."""

from __future__ import annotations

import base64

import numpy as np
from numpy.typing import ArrayLike, NDArray

from audit.record import PerUnit, Slice


def pack(
    metric: str,
    good: ArrayLike,
    *,
    samples: NDArray[np.intp] | None = None,
    slice: Slice | None = None,
) -> PerUnit:
    """Per-sample outcomes, a bit each.

    Args:
        good: [n] booleans.
        samples: their indices; None for every sample in order.
    """
    bits = np.asarray(good, dtype=bool)
    return PerUnit(
        metric=metric,
        slice=slice or {},
        indices=None if samples is None else [int(i) for i in samples],
        n=len(bits),
        bits=base64.b64encode(np.packbits(bits).tobytes()).decode(),
    )


def unpack(per_unit: PerUnit) -> NDArray[np.bool_]:
    """[n] booleans, in the order in which they were packed."""
    packed = np.frombuffer(base64.b64decode(per_unit.bits), dtype=np.uint8)
    return np.unpackbits(packed, count=per_unit.n).astype(bool)

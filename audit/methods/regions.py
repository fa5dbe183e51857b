"""Regions: units of one class that touch, as the pixels of an object or the tokens of a name do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import generate_binary_structure, label


@dataclass(frozen=True)
class Regions:
    """All regions of some samples; each array [m].

    Attributes:
        sample, kind: which sample, and which class, each belongs to.
        size: in units.
        overlap: the largest intersection over union with a region of its class among the others.
    """

    sample: NDArray[np.intp]
    kind: NDArray[np.intp]
    size: NDArray[np.intp]
    overlap: NDArray[np.float64]


def regions(
    labels: NDArray[np.integer[Any]], others: NDArray[np.integer[Any]], background: int | None
) -> Regions:
    """The regions of every class but the background, and how well each is met by one of the others.

    Of two labellings of the same samples no region is met by more than one other beyond one half
    (Kirillov et al. 2019, "Panoptic segmentation", section 4.1).

    Args:
        labels: [n, ...] class indices; below 0: none.
        others: [n, ...] another labelling of the same units.
        background: the class whose units are no regions; None: those of every class are.

    Returns:
        those of `labels`, class by class.

    Example:
        >>> import numpy as np
        >>> found = regions(np.array([[0, 1, 1, 0, 1]]), np.array([[0, 1, 1, 1, 0]]), background=0)
        >>> found.size.tolist(), found.overlap.round(2).tolist()
        ([2, 1], [0.67, 0.0])
    """
    touching = np.zeros((3,) * labels.ndim, dtype=bool)
    touching[1] = generate_binary_structure(labels.ndim - 1, labels.ndim - 1)
    found = []
    for kind in np.setdiff1d(
        np.unique(labels[labels >= 0]), [-1 if background is None else background]
    ):
        own, count = label(labels == kind, touching)
        other, _ = label((others == kind) & (labels >= 0), touching)
        size = np.bincount(own.ravel(), minlength=count + 1)[1:]
        first = np.unique(own.ravel(), return_index=True)[1][-count:]
        found.append(
            Regions(
                first // labels[0].size,
                np.full(count, kind),
                size,
                best_overlap(own.ravel(), other.ravel(), count),
            )
        )
    fields = ("sample", "kind", "size", "overlap")
    empty = {name: np.zeros(0, np.float64 if name == "overlap" else np.intp) for name in fields}
    return Regions(
        **{
            name: np.concatenate([empty[name], *(getattr(f, name) for f in found)])
            for name in fields
        }
    )


def best_overlap(own: NDArray[Any], other: NDArray[Any], count: int) -> NDArray[np.float64]:
    """[count] the largest intersection over union of each region with one of the others.

    Args:
        own, other: [units] the number of the region that each unit is part of; 0: of none.
    """
    best = np.zeros(count)
    both = (own > 0) & (other > 0)
    if not both.any():
        return best
    pairs, common = np.unique(np.stack([own[both], other[both]]), axis=1, return_counts=True)
    union = np.bincount(own)[pairs[0]] + np.bincount(other)[pairs[1]] - common
    np.maximum.at(best, pairs[0] - 1, common / union)
    return best

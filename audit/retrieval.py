"""Places in a space and what lies next to them: similarities, in blocks, never all at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

Similarity = Literal["cosine", "euclidean"]
HELD = 1 << 24  # similarities held at once


def laid(places: Tensor, similarity: Similarity) -> Tensor:
    """Places [n, d] as `similar` compares them: of length 1 where only their direction counts."""
    places = places if places.dtype == torch.float64 else places.float()
    return F.normalize(places, dim=1) if similarity == "cosine" else places


def similar(one: Tensor, other: Tensor, similarity: Similarity) -> Tensor:
    """[n] of laid places [n, d], pair by pair: the cosine, or minus the distance."""
    if similarity == "cosine":
        return (one * other).sum(1)
    return -(one - other).square().sum(1).clamp_min(1e-24).sqrt()


def similarities(one: Tensor, others: Tensor, similarity: Similarity) -> Tensor:
    """[n, m] of laid places [n, d] and [m, d]."""
    return one @ others.T if similarity == "cosine" else -torch.cdist(one, others)


@dataclass(frozen=True, eq=False)
class Gallery:
    """What places are compared with.

    Attributes:
        places: [m, d], laid.
        identity: [m] whose they are.
        sample: [m] the same number for copies of one sample, which are never found for one another.
    """

    places: Tensor
    identity: Tensor
    sample: Tensor
    similarity: Similarity

    def nearest(self, places: Tensor, allowed: Callable[[slice], Tensor]) -> tuple[Tensor, Tensor]:
        """The most similar entry for each of some laid places [n, d], without gradients.

        Args:
            allowed: some entries → [n, entries] which of them may be found.

        Returns:
            [n] how similar, −inf where none may be found; [n] which entry.
        """
        best = torch.full((len(places),), -torch.inf, device=places.device, dtype=places.dtype)
        at = torch.zeros(len(places), dtype=torch.long, device=places.device)
        block = max(1, HELD // max(len(places), 1))
        with torch.no_grad():
            for start in range(0, len(self.places), block):
                part = slice(start, start + block)
                found = similarities(places.detach(), self.places[part], self.similarity)
                found = found.nan_to_num(-torch.inf).masked_fill(~allowed(part), -torch.inf)
                most, where = found.max(1)
                closer = most > best
                best, at = torch.where(closer, most, best), torch.where(closer, where + start, at)
        return best, at

    def mate(self, places: Tensor, whose: Tensor, sample: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest other sample of the same identity: how similar, and which entry."""
        return self.nearest(
            places,
            lambda part: (
                (self.identity[part] == whose[:, None]) & (self.sample[part] != sample[:, None])
            ),
        )

    def stranger(self, places: Tensor, whose: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest sample of another identity: how similar, and which entry."""
        return self.nearest(places, lambda part: self.identity[part] != whose[:, None])

    def neighbour(self, places: Tensor, itself: Tensor) -> Tensor:
        """[n] the entry next to each place, other than an entry [n] that it stands for and its copies."""
        own = self.sample[itself]
        return self.nearest(places, lambda part: self.sample[part] != own[:, None])[1]

    def itself(self, places: Tensor) -> Tensor:
        """[n] the entry that lies where each place lies."""
        return self.nearest(
            places,
            lambda part: torch.ones_like(self.identity[part], dtype=torch.bool)[None],
        )[1]


@dataclass(frozen=True, eq=False)
class Ranked:
    """How well samples find their mates.

    Attributes:
        rank: [n] of the first mate, from 1; ties count against it. 0: there is none.
        precision: [n] average precision over the mates; NaN where there is none.
    """

    rank: Tensor
    precision: Tensor


def ranked(gallery: Gallery, places: Tensor, whose: Tensor, sample: Tensor) -> Ranked:
    """Every sample against the whole gallery but itself and its copies.

    Args:
        places: [n, d], laid. whose, sample: [n], as of the gallery.
    """
    ranks, precisions = [], []
    block = max(1, HELD // 4 // max(len(gallery.places), 1))
    for start in range(0, len(places), block):
        rows = slice(start, start + block)
        found = similarities(places[rows], gallery.places, gallery.similarity)
        own = gallery.sample == sample[rows, None]
        found = found.nan_to_num(-torch.inf).masked_fill(own, -torch.inf)
        mates = (gallery.identity == whose[rows, None]) & ~own
        # Strangers first where similarities are the same: a tie is no answer.
        strangers_first = mates.long().argsort(dim=1, stable=True)
        order = found.gather(1, strangers_first).argsort(dim=1, descending=True, stable=True)
        hits = mates.gather(1, strangers_first.gather(1, order))
        count = hits.sum(1)
        place = torch.arange(1, hits.shape[1] + 1, device=hits.device)
        precision = (hits.cumsum(1) / place).masked_fill(~hits, 0).sum(1) / count
        ranks.append(torch.where(count > 0, hits.long().argmax(1) + 1, 0))
        precisions.append(precision.double())
    return Ranked(torch.cat(ranks).cpu(), torch.cat(precisions).cpu())


def lonely(labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """[n] has no other sample, copies apart, the same identity?

    Args:
        labels: [n, 2] whose each sample is, and which sample it is.
    """
    identities, different = np.unique(np.unique(labels, axis=0)[:, 0], return_counts=True)
    alone: NDArray[np.bool_] = different[np.searchsorted(identities, labels[:, 0])] < 2
    return alone


def evenly(labels: NDArray[np.int64], most: int, seed: int = 0) -> NDArray[np.intp]:
    """Indices of so many samples at most: two of every identity before a third of any.

    Args:
        labels: [n, 2], as of `lonely`.
    """
    whose, which = labels.T
    order = np.lexsort((which, whose))
    starts = np.r_[True, np.diff(whose[order]) != 0]
    first = np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))
    turn = np.empty(len(order), dtype=np.intp)
    turn[order] = (np.arange(len(order)) - first) // 2
    identities = np.unique(whose)
    drawn = np.random.default_rng(seed).permutation(len(identities))
    at = drawn[np.searchsorted(identities, whose)]
    return np.sort(np.lexsort((at, turn))[:most])

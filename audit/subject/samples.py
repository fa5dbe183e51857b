"""Samples that a model is asked about, and what they are like."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.arrays import has_channels_last
from audit.copies import copies
from audit.inputs import InputKind
from audit.meta import Feature
from audit.packing import Layout
from audit.record import LeftOut

INPUT = "x"  # what the one input is called


@dataclass(frozen=True)
class Moments:
    """Each [1, ...], on the subject's device."""

    mean: Tensor
    std: Tensor
    low: Tensor
    high: Tensor


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples, in the user's units, on the CPU.

    Attributes:
        named: name of an input → [n, ...] what is given to it.
        labels: [n], or None.
        kind: what the samples are.
        device: of the network that is asked.
        batch_size: how many it is asked at once.
        features: the named features, where single columns mean something.
        pad: what shorter samples are filled up with, where they are.
        sensitive: name → [n] labels of people's groups.
        groups: [n] labels of clusters, where they are given.
        left_out: what belongs to the data and was not read.
        name: of the data.
        strangers: samples that nothing is asked about, among which answers are sought all the same.
        pairs: ([m, 2] samples, [m] are the two the same?), where they are named.
        lacking: are values missing? They are NaN, and no part of the samples.
        layout: which columns hold which of several inputs; None: there is one.
    """

    named: Mapping[str, Tensor]
    labels: Tensor | None
    kind: InputKind
    device: torch.device
    batch_size: int
    features: Sequence[Feature] = ()
    pad: Tensor | None = None
    sensitive: Mapping[str, NDArray[np.str_]] = field(default_factory=dict)
    groups: NDArray[np.str_] | None = None
    left_out: Sequence[LeftOut] = ()
    name: str = ""
    strangers: Samples | None = None
    pairs: tuple[Tensor, Tensor] | None = None
    lacking: bool = False
    layout: Layout | None = None

    def chosen(self, rows: NDArray[np.intp]) -> Samples:
        """Some of them."""
        index = torch.as_tensor(rows)
        return replace(
            self,
            named={name: x[index] for name, x in self.named.items()},
            labels=None if self.labels is None else self.labels[index],
            sensitive={name: labels[rows] for name, labels in self.sensitive.items()},
            groups=None if self.groups is None else self.groups[rows],
            pairs=None,
        )

    def others(self, x: Tensor, labels: Tensor | None, name: str) -> Samples:
        """Other samples of the same kind, padded alike, of which no more than this is known."""
        return replace(
            self,
            named={INPUT: x},
            labels=labels,
            sensitive={},
            groups=None,
            left_out=(),
            name=name,
            strangers=None,
            pairs=None,
        )

    def one(self, name: str, kind: InputKind, described: list[Feature] | None) -> Samples:
        """One of several inputs, as if it were all.

        Args:
            kind: what that input is. described: the features of a table, as the user describes them.
        """
        assert self.layout is not None
        member = self.layout[name]

        def own(row: Tensor) -> Tensor:
            return member.of(row) if member.shape else member.of(row)[:, None]

        x = own(self.inputs)
        x = x if kind.continuous else x.round().long()
        m = self.moments
        made = replace(
            self,
            named={INPUT: x},
            kind=kind,
            features=kind.features(x, described),
            pad=kind.pad(x),
            layout=None,
        )
        # Of what the other inputs hide nothing counts, which this one does not know.
        vars(made)["moments"] = Moments(own(m.mean), own(m.std), own(m.low), own(m.high))
        return made

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def inputs(self) -> Tensor:
        """[n, ...] the one input."""
        return self.named[INPUT]

    @property
    def channels_last(self) -> bool:
        """Are they pictures [height, width, channels]?"""
        return has_channels_last(self.inputs)

    def batch(self, indices: Sequence[int] | NDArray[np.intp]) -> tuple[Tensor, Tensor]:
        """Inputs and labels (0 where there are none) of some samples, on the network's device."""
        index = torch.as_tensor(np.asarray(indices))
        y = torch.zeros(len(index), dtype=torch.long) if self.labels is None else self.labels[index]
        return self.inputs[index].to(self.device), y.to(self.device)

    # What they are like

    def padding(self, x: Tensor) -> Tensor | None:
        """[n, ...] which values of such samples are no part of them; None: all are."""
        pads = None if self.pad is None else self.kind.padding(x, self.pad)
        if not self.lacking or not x.is_floating_point():
            return pads
        return x.isnan() if pads is None else pads | x.isnan()

    @functools.cached_property
    def moments(self) -> Moments:
        """Mean, spread and bounds of every input value, over what is part of the samples."""
        x = self.inputs if self.inputs.is_floating_point() else self.inputs.float()
        pads = self.padding(x)
        if pads is None:
            found = x.mean(0), x.std(0), x.amin(0), x.amax(0)
        else:
            n = (~pads).sum(0)
            mean = x.masked_fill(pads, 0).sum(0) / n.clamp_min(1)
            squares = (x - mean).masked_fill(pads, 0).square().sum(0)
            low, high = (
                x.masked_fill(pads, torch.inf).amin(0),
                x.masked_fill(pads, -torch.inf).amax(0),
            )
            found = (
                mean,
                (squares / (n - 1).clamp_min(1)).sqrt(),
                low.where(n > 0, mean),
                high.where(n > 0, mean),
            )
        return Moments(*(m[None].to(self.device) for m in found))

    @functools.cached_property
    def whole(self) -> Tensor | None:
        """[1, columns] the numeric features of a table that count in whole numbers; None: none do."""
        if not self.features:
            return None
        x = self.inputs
        whole = ((x == x.round()) | x.isnan()).all(0, keepdim=True)
        for feature in self.features:
            if feature.kind != "numeric":
                whole[0, feature.columns] = False
            elif feature.whole is not None:
                whole[0, feature.columns] = feature.whole
        return whole.to(self.device) if bool(whole.any()) else None

    # Which are the same

    @functools.cached_property
    def digests(self) -> list[str]:
        """16 hexadecimal digits for each sample: its input and label."""
        labels = torch.zeros(len(self)) if self.labels is None else self.labels
        return [
            hashlib.blake2b(row.tobytes() + label.tobytes(), digest_size=8).hexdigest()
            for row, label in zip(self.inputs.numpy(), labels.numpy(), strict=True)
        ]

    def digest(self) -> str:
        """sha256 of samples, labels, people's groups and clusters."""
        digest = hashlib.sha256("".join(self.digests).encode())
        for name in sorted(self.sensitive):
            digest.update(name.encode() + "\0".join(self.sensitive[name]).encode())
        if self.groups is not None:
            digest.update("\0".join(self.groups).encode())
        if self.strangers is not None:
            digest.update(self.strangers.digest().encode())
        for part in self.pairs or ():
            digest.update(part.numpy().tobytes())
        return digest.hexdigest()

    @functools.cached_property
    def clusters(self) -> NDArray[np.str_] | None:
        """[n] labels of samples that are not independent: as given, else of copies of one another."""
        if self.groups is not None:
            return self.groups
        return copies(
            self.digests,
            self.inputs.nan_to_num().numpy(),
            None if self.labels is None else self.labels.numpy(),
            [f.columns for f in self.features] if self.of_features else (),
        )

    @property
    def of_features(self) -> bool:
        """Are they nothing but features?"""
        return sum(len(f.columns) for f in self.features) == self.inputs[0].numel()

    def notes_on_copies(self) -> list[str]:
        """The note on copies, where they make the clusters."""
        if self.groups is not None or self.clusters is None:
            return []
        more = len(self) - len(np.unique(self.clusters))
        return [
            f"{more:,} of {len(self):,} samples {'is a copy' if more == 1 else 'are copies'} of another, "
            "input and label alike; copies count together, as one cluster."
        ]

"""Rows of a table: [columns], each numeric, or the one-hot columns of a category together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from audit.errors import NotApplicable
from audit.inputs import FirstLayer, InputKind, Parts, Reach, Ways, spaced
from audit.meta import Feature
from audit.outputs import full
from audit.record import Figure, Table
from audit.words import number

if TYPE_CHECKING:
    from audit.subject import Subject

EPS = 0.1  # standard deviations
COPY = 1e-3  # standard deviations that a copy of a row may differ in
LONGEST = 40  # lines of a table of examples


class Tabular(InputKind):
    """Rows of a table."""

    noun: ClassVar[str] = "rows of a table"
    noisy: ClassVar[bool] = True
    suggested_eps: ClassVar[str] = (
        "eps = 0.1  # standard deviations that a feature may be off without harm"
    )

    def fits(self, x: Tensor, first: FirstLayer | None) -> str:
        if x.ndim != 2 or not x.is_floating_point() or (first is not None and first.time_last(x)):
            return ""
        return f"rows of {x.shape[1]} columns"

    def tiny(self, n: int, generator: torch.Generator) -> tuple[Tensor, dict[str, Any]]:
        return torch.randn(n, 6, generator=generator), {}

    def default_eps(self, subject: Subject) -> float:
        return EPS

    def reach(self, subject: Subject, eps: float) -> Reach:
        """`eps` in standard deviations on mutable numeric features, within the range of the data."""
        moments = subject.moments
        radius = torch.zeros_like(moments.low)
        movable = [f for f in subject.features if f.attackable]
        radius[0] = declared(moments.std[0], movable, eps)
        return Reach(radius, moments.low, moments.high)

    def moves_numbers(self, subject: Subject) -> bool:
        return any(f.attackable for f in subject.features)

    def require_movable(self, subject: Subject, eps: float) -> None:
        if not self.moves_numbers(subject):
            raise NotApplicable("no numeric feature is mutable")
        radius = self.reach(subject, eps).radius
        movable = radius > 0
        if subject.whole is not None:
            movable &= (radius >= 1) | ~subject.whole
        if eps and not bool(movable.any()):
            raise NotApplicable(
                f"eps {number(eps)} is less than one whole step of every mutable feature"
            )

    def change(self, subject: Subject, size: float, norm: str) -> str:
        names = [f.name for f in subject.features if f.attackable]
        listed = ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
        return f"Changing {listed} by at most {number(size)} standard deviations each"

    def features(self, x: Tensor, described: list[Feature] | None) -> list[Feature]:
        """As they are described; unnamed columns are called by their number."""
        return described or [Feature(name=f"column {i}", columns=[i]) for i in range(x.shape[1])]

    def over_time(self, x: Tensor) -> Tensor | None:
        """The columns as the values of one series, the last the newest."""
        return x[:, :, None]

    def parts(self, subject: Subject) -> Parts:
        """Named features, one-hot columns together."""
        features = subject.features
        member = torch.zeros(subject.inputs.shape[1:], dtype=torch.long)
        columns = [c for f in features for c in f.columns]
        member[columns] = torch.tensor([i for i, f in enumerate(features) for _ in f.columns])
        return Parts(member, [f.name for f in features], None)

    def absent(self, subject: Subject, rows: int) -> Tensor:
        """Rows of the data, evenly spaced: a mean of categories is no row."""
        return full(spaced(subject.inputs, rows)).to(subject.device)

    def fillings(self, subject: Subject) -> list[tuple[Feature, str]]:
        if not subject.meta.features:
            raise NotApplicable("the features are not described ([[subject.features]])")
        return [
            (f, how)
            for f in subject.features
            for how in (("mean", "zero") if f.kind == "numeric" else ("most frequent", "none"))
        ]

    def noise_spread(self, subject: Subject) -> Tensor:
        """Of numeric features, as their description gives it, else the data's."""
        std = subject.moments.std
        numeric = [f for f in subject.features if f.kind == "numeric"]
        return declared(std[0], numeric)[None]

    def rescalings(self, subject: Subject) -> Ways:
        found = super().rescalings(subject)
        if subject.meta.features:
            found["units undone"] = units_undone
        return found

    def near(self, subject: Subject, training: Tensor) -> tuple[float, Tensor]:
        spread = training.float().std(0)[None]
        return COPY, torch.where(spread > 0, spread, torch.ones_like(spread))

    def examples(
        self, subject: Subject, original: Tensor, changed: Tensor, said: Sequence[str]
    ) -> tuple[list[Table], list[Figure]]:
        lines: list[list[str | float | int | bool | None]] = []
        for i, (old, new) in enumerate(zip(original, changed, strict=True)):
            for feature in subject.features:
                before, after = old[feature.columns], new[feature.columns]
                if bool(((before == after) | before.isnan()).all()):
                    continue
                if feature.kind == "numeric":
                    lines.append([i + 1, said[i], feature.name, float(before[0]), float(after[0])])
                else:
                    names = feature.categories or [str(c) for c in feature.columns]
                    lines.append(
                        [
                            i + 1,
                            said[i],
                            feature.name,
                            names[int(before.argmax())],
                            names[int(after.argmax())],
                        ]
                    )
        return [
            Table(
                title="Examples: what was changed in a row",
                columns=["example", "answer", "feature", "before", "after"],
                rows=lines[:LONGEST],
            )
        ], []


def declared(std: Tensor, features: Sequence[Feature], times: float = 1.0) -> Tensor:
    """[columns] some numeric features' spread as it is described, else the data's; 0 of all others."""
    spread = torch.zeros_like(std)
    columns = [f.columns[0] for f in features]
    spread[columns] = times * std[columns]
    told = {f.columns[0]: times * f.std for f in features if f.std is not None}
    spread[list(told)] = torch.tensor(list(told.values()), dtype=torch.float64).to(spread)
    return spread


def units_undone(subject: Subject, x: Tensor) -> Tensor:
    """Standardised features in the units that they were measured in."""
    mean, std = torch.zeros_like(x[:1]), torch.ones_like(x[:1])
    for feature in subject.features:
        if feature.kind == "numeric" and feature.mean is not None and feature.std is not None:
            mean[0, feature.columns[0]] = feature.mean
            std[0, feature.columns[0]] = feature.std
    return x * std + mean

"""Graphs: [nodes, features], beside edges that accompany them; shorter ones are filled up and masked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from audit.inputs import FirstLayer, InputKind, Parts, Reach
from audit.words import number

if TYPE_CHECKING:
    from audit.subject import Subject

EPS = 0.1  # standard deviations


class Graph(InputKind):
    """Nodes with features. A small change moves features; what is left out is a node, with its edges."""

    noun: ClassVar[str] = "graphs"
    value: ClassVar[str] = "feature of a node"
    noisy: ClassVar[bool] = True
    steps_axis: ClassVar[int | None] = 0
    suggested_eps: ClassVar[str] = (
        "eps = 0.1  # standard deviations that a feature of a node may be off without harm"
    )

    def fits(self, x: Tensor, first: FirstLayer | None) -> str:
        """Alone, nodes are a series; edges beside them, or `kind`, make them a graph."""
        return ""

    def tiny(self, n: int, generator: torch.Generator) -> tuple[Any, dict[str, Any]]:
        return torch.randn(n, 5, 3, generator=generator), {}

    def default_eps(self, subject: Subject) -> float:
        return EPS

    def spreads(self, subject: Subject) -> Tensor:
        """[1, nodes, features] one standard deviation of each feature, over all nodes."""
        std = subject.moments.std
        return std.square().mean(1, keepdim=True).sqrt().expand_as(std)

    def reach(self, subject: Subject, eps: float) -> Reach:
        """`eps` in standard deviations of each feature, within what the data hold of it."""
        low, high = subject.moments.low, subject.moments.high
        return Reach(
            eps * self.spreads(subject),
            low.amin(1, keepdim=True).expand_as(low),
            high.amax(1, keepdim=True).expand_as(high),
        )

    def change(self, subject: Subject, size: float, norm: str) -> str:
        return f"Changing each feature of a node by at most {number(size)} standard deviations"

    def noise_spread(self, subject: Subject) -> Tensor:
        return self.spreads(subject)

    def parts(self, subject: Subject) -> Parts:
        """Nodes."""
        nodes, features = subject.inputs.shape[1:]
        member = torch.arange(nodes)[:, None].expand(nodes, features).contiguous()
        return Parts(member, [f"node {i + 1}" for i in range(nodes)], None)

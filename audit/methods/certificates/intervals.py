"""Interval bounds: the lowest and highest value of every step over a budget (Gowal et al. 2018, 3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from audit.errors import NotApplicable
from audit.methods.attacks.budgets import Ball, Norm
from audit.methods.certificates.network import LONG, NORMALISING, Network, Step

Interval = tuple[Tensor, Tensor]


def intervals(network: Network, ball: Ball) -> dict[fx.Node, Interval]:
    """Lowest and highest value of every node over a budget, each [n, ...]."""
    found = {network.source: (ball.low, ball.high)}
    # Nodes whose values are the input's, moved about and scaled one by one: an L2 ball still.
    balls = {network.source: (ball.x, ball.radius)} if ball.norm == "l2" else {}
    for step in network.steps:
        found[step.node] = forward(step, [found[i] for i in step.inputs])
        if len(found[step.node][0]) != len(ball.x):
            raise NotApplicable(f"its step {step.name} mixes samples")
        if len(step.inputs) != 1 or step.inputs[0] not in balls:
            continue
        centre, radius = balls[step.inputs[0]]
        middle = step.run(centre)
        if step.arranges or (step.kind == "scaled" and middle.shape == centre.shape):
            shift = step.run(torch.zeros_like(radius))
            balls[step.node] = (middle, (step.run(radius) - shift).abs())
        elif isinstance(step.module, LONG):
            # Cauchy and Schwarz: a row's reach is its length.
            spread = spread_of(step.module, radius, norm="l2")
            found[step.node] = narrower(found[step.node], (middle - spread, middle + spread))
    return found


def narrower(one: Interval, other: Interval) -> Interval:
    """What lies in both of two intervals."""
    return torch.maximum(one[0], other[0]), torch.minimum(one[1], other[1])


def forward(step: Step, given: list[Interval]) -> Interval:
    """The interval of a step's values from those of its inputs."""
    lows, highs = [g[0] for g in given], [g[1] for g in given]
    if step.kind == "weighted":
        assert step.module is not None
        middle, radius = (lows[0] + highs[0]) / 2, (highs[0] - lows[0]) / 2
        centre, spread = step.run(middle), spread_of(step.module, radius)
        return centre - spread, centre + spread
    if step.kind == "scaled":
        # Affine value by value: the ends are among the corners.
        corners = [step.run(*lows), step.run(*highs)]
        if len(given) == 2:
            corners += [step.run(lows[0], highs[1]), step.run(highs[0], lows[1])]
        stacked = torch.stack(corners)
        return stacked.amin(0), stacked.amax(0)
    return step.run(*lows), step.run(*highs)


def spread_of(module: nn.Module, radius: Tensor, norm: Norm = "linf") -> Tensor:
    """How far a weighted layer's values can go when its inputs go by `radius`: each, or (L2) in all."""
    if norm == "l2":
        assert isinstance(module, LONG)
        squares = radius**2
        if isinstance(module, nn.Linear):
            return F.linear(squares, module.weight**2).sqrt()
        return module._conv_forward(squares, module.weight**2, None).sqrt()
    if isinstance(module, nn.Linear):
        return F.linear(radius, module.weight.abs())
    if isinstance(module, NORMALISING):
        shift = module(torch.zeros_like(radius))
        return (module(radius) - shift).abs()
    assert isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d))
    if module.padding_mode != "zeros":
        raise NotApplicable(
            f"no bounds are known of a convolution with padding {module.padding_mode}"
        )
    return module._conv_forward(radius, module.weight.abs(), None)

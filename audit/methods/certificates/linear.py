"""Linear bounds, backwards (CROWN, Zhang et al. 2018).

A bound on a step's values becomes one on its inputs, until it is one on the network's input, which is
bounded over the budget exactly.

What goes into an activation is bounded in the same way, wherever its interval leaves open which line
it follows. A unit of a convolution is reached by a window of what lies before it: its bound is
followed back through that window alone (as auto_LiRPA's patches do).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from audit.errors import NotApplicable
from audit.methods.attacks.budgets import Ball
from audit.methods.certificates.activations import Bent, Bowed, Lines
from audit.methods.certificates.intervals import Interval, forward, intervals, narrower
from audit.methods.certificates.network import LONG, NORMALISING, Step, TracedNetwork

AT_ONCE = 1 << 22  # values of linear forms that are followed together
EFFORT = 1e9  # multiplications that linear bounds of a sample's hidden layers may take
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


Window = tuple[tuple[int, int], ...]  # where it begins and how far it goes, on the last axes


def part_of(values: Tensor, window: Window) -> Tensor:
    """The part of a node's values [n, ...] that a window shows; all, where it has no axes."""
    for axis, (start, size) in enumerate(window, values.ndim - len(window)):
        values = values.narrow(axis, start, size)
    return values


def rows_of(values: Tensor, window: Window, of: Tensor) -> Tensor:
    """[m, ..., *window] the part that a window shows of the samples `of`.

    A window is no piece of memory in a row: it is copied first, so that rows can be copied whole.
    """
    return part_of(values, window).contiguous().index_select(0, of)


def by_sign(weight: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The weights times `low` where they are above zero, times `high` where they are below."""
    up = weight.relu()  # several times as fast as a choice by torch.where, and as exact
    return torch.addcmul(up * low, weight - up, high)


@dataclass(frozen=True)
class Form:
    """Sums of weights times a node's values; zero outside of a window.

    Attributes:
        weight: [m, ..., *window].
        corner: where the window begins on the last axes; empty where it is everything.
    """

    weight: Tensor
    corner: tuple[int, ...] = ()

    @property
    def window(self) -> Window:
        return tuple(zip(self.corner, self.weight.shape[-len(self.corner) :], strict=False))

    def wider(self, corner: tuple[int, ...], end: tuple[int, ...]) -> Tensor:
        """The weights within another window that holds this one."""
        padding: list[int] = []
        for axis in range(len(corner) - 1, -1, -1):
            start = self.corner[axis] if self.corner else 0
            size = self.weight.shape[axis - len(corner)]
            padding += [start - corner[axis], end[axis] - start - size]
        return F.pad(self.weight, padding) if any(padding) else self.weight

    def whole(self, shape: torch.Size) -> Tensor:
        """[m, *shape] the weights of all values."""
        axes = len(self.corner)
        return self.wider((0,) * axes, tuple(shape[len(shape) - axes :]))

    def plus(self, other: Form) -> Form:
        """The sum of two forms of the same node."""
        if not self.corner or not other.corner:
            shape = (self if not self.corner else other).weight.shape[1:]
            return Form(self.whole(shape) + other.whole(shape))
        axes = range(len(self.corner))
        corner = tuple(min(self.corner[i], other.corner[i]) for i in axes)
        end = tuple(
            max(f.corner[i] + f.weight.shape[i - len(corner)] for f in (self, other)) for i in axes
        )
        return Form(self.wider(corner, end) + other.wider(corner, end), corner)


@dataclass
class Bounds:
    """What is known of a network's values over a budget.

    Attributes:
        known: lowest and highest value of every node, each [n, ...].
        lines: of the activations that were met on the way back.
    """

    network: TracedNetwork
    ball: Ball
    known: dict[fx.Node, Interval]
    lines: dict[fx.Node, Lines] = field(default_factory=dict)

    @classmethod
    def of(cls, network: TracedNetwork, ball: Ball, effort: float = EFFORT) -> Bounds:
        """Interval bounds, and linear ones of what goes into activations.

        Args:
            effort: multiplications that the latter may take for one sample; none where 0.
        """
        bounds = cls(network, ball, intervals(network, ball))
        if effort:
            tighten(bounds, effort)
        return bounds

    def shape(self, node: fx.Node) -> torch.Size:
        return self.known[node][0].shape[1:]

    def between(self, step: Step, activation: Bent | Bowed) -> Lines:
        """The lines between which a step's values lie."""
        if step.node not in self.lines:
            self.lines[step.node] = activation.lines(*self.known[step.inputs[0]])
        return self.lines[step.node]


def lower_bound(bounds: Bounds, at: fx.Node, form: Form, of: Tensor) -> Tensor:
    """[m] lower bounds of linear forms of a node's values.

    Args:
        of: [m] the sample that each form is of.
    """
    network, ball = bounds.network, bounds.ball
    forms = {at: form}
    total = torch.zeros(len(of), device=of.device)
    for step in reversed(network.steps):
        here = forms.pop(step.node, None)
        if here is None:
            continue
        pulled, added = backward(bounds, step, here, of)
        total = total + added
        for node, part in zip(step.inputs, pulled, strict=False):
            forms[node] = forms[node].plus(part) if node in forms else part
    left = forms.get(network.source)
    if left is None:
        return total
    weight = left.weight.flatten(1)
    low, high = (rows_of(b, left.window, of).flatten(1) for b in bounds.known[network.source])
    bound = by_sign(weight, low, high).sum(1)
    if ball.norm == "l2":
        # The set lies in the box and in the ball: the better of both bounds holds.
        radius = rows_of(ball.radius.expand_as(ball.x), left.window, of).flatten(1)
        centre = (weight * rows_of(ball.x, left.window, of).flatten(1)).sum(1)
        bound = torch.maximum(bound, centre - (weight * radius).norm(dim=1))
    return bound + total


def backward(bounds: Bounds, step: Step, form: Form, of: Tensor) -> tuple[list[Form], Tensor]:
    """What a lower bound of a form of a step's values is, in its inputs' values.

    Returns:
        Forms of each input (of none, where it is a constant), and [m] what is added.
    """
    weight, shape = form.weight, bounds.shape(step.inputs[0])
    activation = step.activation
    if activation is not None:
        lines = bounds.between(step, activation)
        below, above, floor, ceiling = (
            rows_of(t, form.window, of)
            for t in (lines.below, lines.above, lines.floor, lines.ceiling)
        )
        added = by_sign(weight, floor, ceiling).flatten(1).sum(1)
        return [Form(by_sign(weight, below, above), form.corner)], added
    if isinstance(step.module, nn.Linear):
        weight, bias = form.whole(bounds.shape(step.node)), step.module.bias
        added = weight.new_zeros(()) if bias is None else (weight * bias).flatten(1).sum(1)
        return [Form(weight @ step.module.weight)], added
    if isinstance(step.module, CONVOLUTIONS) and not isinstance(step.module.padding, str):
        return through_convolution(step.module, form, shape)
    if isinstance(step.module, NORMALISING):
        scale, shift = normalisation(step.module)
        axes = [1] * (weight.ndim - 2)
        added = (weight * shift.reshape(1, -1, *axes)).flatten(1).sum(1)
        return [Form(weight * scale.reshape(1, -1, *axes), form.corner)], added
    if step.keeps or (step.adds and all(bounds.shape(i) == shape for i in step.inputs)):
        return [form for _ in step.inputs], weight.new_zeros(())
    window: Window = ()
    if step.pooling is not None and len(form.corner) == len(step.pooling):
        window = tuple(
            (start * stride, (size - 1) * stride + kernel)
            for (start, size), (kernel, stride) in zip(form.window, step.pooling, strict=True)
        )
    else:
        weight = form.whole(bounds.shape(step.node))
    corner = tuple(start for start, _ in window)
    given = [tuple(rows_of(b, window, of) for b in bounds.known[i]) for i in step.inputs]
    if step.kind in ("weighted", "affine", "sum", "scaled"):
        with torch.enable_grad():
            zeros = [torch.zeros_like(low).requires_grad_(True) for low, _ in given]
            value = step.run(*zeros)
            parts = torch.autograd.grad((value * weight).sum(), zeros)
        added = (weight * value.detach()).reshape(len(weight), -1).sum(1)
        return [Form(p, corner) for p in parts], added
    up, down = weight.clamp_min(0), weight.clamp_max(0)
    if step.takes_largest:
        # At least the value that is largest at the lower ends; at most the largest upper end.
        low, high = given[0]
        with torch.enable_grad():
            point = low.clone().requires_grad_(True)
            (routed,) = torch.autograd.grad((step.run(point) * up).sum(), point)
        return [Form(routed, corner)], (down * step.run(high)).flatten(1).sum(1)
    least, most = (rows_of(b, (), of) for b in bounds.known[step.node])
    return [], (up * least + down * most).flatten(1).sum(1)


def through_convolution(
    module: nn.Conv1d | nn.Conv2d | nn.Conv3d, form: Form, shape: torch.Size
) -> tuple[list[Form], Tensor]:
    """The forms in a convolution's inputs, on the window that they are reached by, and what is added."""
    axes = len(module.kernel_size)
    corner = form.corner or (0,) * axes
    m, plain = len(form.weight), module.groups == 1 and set(module.dilation) == {1}
    if plain and form.weight[0, 0].numel() == 1:  # of one place the kernels are what it reaches
        weight = form.weight.flatten(1) @ module.weight.flatten(1)
        weight = weight.reshape(m, module.in_channels, *module.kernel_size)
    else:
        weight = TRANSPOSED[axes](
            form.weight,
            module.weight,
            stride=module.stride,
            dilation=module.dilation,
            groups=module.groups,
        )
    starts = []
    for i in range(axes):
        axis, size = i - axes, shape[i - axes]
        first = corner[i] * module.stride[i] - int(module.padding[i])
        start, end = max(first, 0), min(first + weight.shape[axis], size)  # the rest is padding
        if end > start:
            weight = weight.narrow(axis, start - first, end - start)
        else:  # nothing but padding is reached
            start, weight = 0, torch.zeros_like(weight.narrow(axis, 0, 1))
        starts.append(start)
    added = weight.new_zeros(())
    if module.bias is not None:
        added = form.weight.flatten(2).sum(2) @ module.bias
    return [Form(weight, tuple(starts))], added


def normalisation(module: nn.Module) -> tuple[Tensor, Tensor]:
    """[channels] scale and shift of a batch normalisation at rest."""
    assert isinstance(module, NORMALISING)
    assert module.running_mean is not None
    assert module.running_var is not None
    scale = (module.running_var + module.eps).rsqrt()
    if module.weight is not None:
        scale = scale * module.weight
    shift = -module.running_mean * scale
    return scale, shift if module.bias is None else shift + module.bias


def tighten(bounds: Bounds, effort: float) -> None:
    """Linear bounds of what goes into activations, layer by layer, where that is affordable."""
    network, known = bounds.network, bounds.known
    left = torch.full((len(bounds.ball.x),), effort, device=bounds.ball.x.device)
    bent = False
    for step in network.steps:
        if step.inputs[0] is not network.source:  # what follows from bounds that are tighter now
            known[step.node] = narrower(
                known[step.node], forward(step, [known[i] for i in step.inputs])
            )
        if not step.curved:
            continue
        if bent:
            left = refine(bounds, step, left)
            known[step.node] = narrower(known[step.node], forward(step, [known[step.inputs[0]]]))
        bent = True


def refine(bounds: Bounds, step: Step, left: Tensor) -> Tensor:
    """Linear bounds of those inputs of an activation that are open, of samples that can afford it.

    Args:
        left: [n] multiplications that each sample may take.

    Returns:
        [n] what is left of them; below zero where it was too little, once and for all.
    """
    node = step.inputs[0]
    low, high = bounds.known[node]
    if low.ndim < 2:
        return left
    open_ = low < high if step.activation is None else step.activation.open(low, high)
    cost = 2 * work(bounds, node) * open_.flatten(1).sum(1)
    able = cost <= left
    # Where what goes into an activation is not bounded well, what follows is not worth it; the
    # values that a pooling chooses from are bounded already, if less well.
    left = torch.where(able, left - cost, left if step.takes_largest else -1.0)
    open_ &= able.reshape(-1, *[1] * (open_.ndim - 1))
    widest = max(math.prod(bounds.shape(n)) for n in bounds.known)
    together = max(1, AT_ONCE // (2 * widest))
    shape, channels = low.shape, low.shape[1]
    # [n, channels, places]
    open_, low, high = (t.reshape(*shape[:2], -1).clone() for t in (open_, low, high))
    for place in open_.any(0).any(0).nonzero()[:, 0].tolist():
        corner = tuple(int(i) for i in np.unravel_index(place, shape[2:]))
        rows = open_[:, :, place].nonzero()
        for start in range(0, len(rows), together):
            of, unit = rows[start : start + together].unbind(1)
            one = F.one_hot(unit, channels).to(low)
            both = torch.cat([one, -one]).reshape(2 * len(of), channels, *[1] * len(corner))
            least, most = lower_bound(bounds, node, Form(both, corner), of.repeat(2)).chunk(2)
            low[of, unit, place] = torch.maximum(low[of, unit, place], least)
            high[of, unit, place] = torch.minimum(high[of, unit, place], -most)
    low, high = low.reshape(shape), high.reshape(shape)
    bounds.known[node] = (low, high)
    return left


def work(bounds: Bounds, at: fx.Node) -> int:
    """Multiplications of one unit's linear form on its way back."""
    reached = {at: (1,) * (len(bounds.shape(at)) - 1)}  # extent of the window, on the axes of place
    total = 0
    for step in reversed(bounds.network.steps):
        extent = reached.pop(step.node, None)
        if extent is None:
            continue
        for node in step.inputs:
            shape = bounds.shape(node)
            whole = tuple(shape[1:])
            module = step.module
            if isinstance(module, CONVOLUTIONS):
                reached[node] = tuple(
                    min((e - 1) * s + d * (k - 1) + 1, size)
                    for e, s, d, k, size in zip(
                        extent,
                        module.stride,
                        module.dilation,
                        module.kernel_size,
                        whole,
                        strict=True,
                    )
                )
            elif step.pooling is not None and len(extent) == len(step.pooling):
                reached[node] = tuple(
                    (e - 1) * stride + kernel
                    for e, (kernel, stride) in zip(extent, step.pooling, strict=True)
                )
            else:
                reached[node] = extent if step.in_place else whole
            if isinstance(module, LONG):
                total += module.weight.numel() * math.prod(extent)
            else:
                total += math.prod(shape[:1]) * math.prod(reached[node])
    return total


def margins(bounds: Bounds, y: Tensor) -> Tensor:
    """[n] a lower bound, over the budget, of how far the class `y` leads.

    It is the better of the linear bound and that of the scores' intervals.
    """
    network = bounds.network
    low, high = bounds.known[network.output]
    n, k = len(low), low[0].numel()
    rows = torch.arange(n, device=low.device)
    if k == 1:
        sign = torch.where(y == 1, 1.0, -1.0).to(low)
        form = Form(sign.reshape(n, *[1] * (low.ndim - 1)))
        apart = torch.where(y == 1, low.flatten(), -high.flatten())
        linear = lower_bound(bounds, network.output, form, rows)
        return torch.maximum(linear, apart) - sign * network.zero
    if low.ndim != 2:
        raise NotApplicable(f"the network's scores have shape {list(low.shape[1:])}")
    other = torch.arange(k - 1, device=low.device) + (
        torch.arange(k - 1, device=low.device) >= y[:, None]
    )
    leads = torch.zeros(n, k - 1, k, device=low.device)
    leads.scatter_(2, y[:, None, None].expand(n, k - 1, 1), 1.0)
    leads = leads.scatter_(2, other[..., None], -1.0).flatten(0, 1)
    of = rows.repeat_interleave(k - 1)
    linear = lower_bound(bounds, network.output, Form(leads), of).reshape(n, k - 1).amin(1)
    apart = low.gather(1, y[:, None])[:, 0] - high.scatter(1, y[:, None], -torch.inf).amax(1)
    return torch.maximum(linear, apart)

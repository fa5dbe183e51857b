"""Bounds of what a network can answer anywhere in a budget: proofs, where attacks are trials.

Interval bounds (Gowal et al. 2018, section 3) go forward through every layer; then the margin between
two classes is bounded backwards through linear relaxations of the activations (CROWN, Zhang et al.
2018, with interval bounds inside: Zhang et al. 2020). Ours, because auto_LiRPA, the library for it,
is on the registry in a version for another torch only. A layer that is affine is told by the table
below; everything else has to be monotone, so that an interval's ends map to its image's ends, or the
network is refused by name. What was read off the network must answer as the network does, or it is
refused too. Sums are those of single precision: rounding is not bounded.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from audit.errors import NotApplicable
from audit.evidence import Batch, producer
from audit.methods.attacks.budgets import Ball, Norm, budget
from audit.subject import Subject

AFFINE_MODULES = (
    nn.Flatten, nn.Unflatten, nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.AvgPool1d,
    nn.AvgPool2d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d,
)  # fmt: skip
MONOTONE_MODULES = (
    nn.ReLU, nn.LeakyReLU, nn.ReLU6, nn.Sigmoid, nn.Tanh, nn.ELU, nn.Softplus, nn.Hardtanh,
    nn.MaxPool1d, nn.MaxPool2d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d,
)  # fmt: skip
SQUASHING = (nn.Softmax, nn.LogSoftmax, nn.Sigmoid)
# By the name of a function or a tensor's method. All increase with their one tensor.
AFFINE_NAMES = {
    "flatten", "reshape", "view", "permute", "transpose", "squeeze", "unsqueeze", "contiguous", "to",
    "float", "mean", "sum", "avg_pool1d", "avg_pool2d", "adaptive_avg_pool1d", "adaptive_avg_pool2d",
    "interpolate", "dropout", "getitem", "expand",
}  # fmt: skip
MONOTONE_NAMES = {
    "relu", "leaky_relu", "relu6", "sigmoid", "tanh", "elu", "softplus", "hardtanh", "clamp",
    "clamp_min", "clamp_max", "max_pool1d", "max_pool2d", "adaptive_max_pool1d",
    "adaptive_max_pool2d", "amax",
}  # fmt: skip
SQUASHING_NAMES = {"softmax", "log_softmax", "sigmoid"}
SUMS = {"add", "iadd", "cat", "concat", "stack"}
PRODUCTS = {"mul", "imul", "truediv", "itruediv", "div"}
LARGEST = {"max_pool1d", "max_pool2d", "adaptive_max_pool1d", "adaptive_max_pool2d", "amax"}
LARGEST_MODULES = (nn.MaxPool1d, nn.MaxPool2d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d)
ARRANGING = {"flatten", "reshape", "view", "permute", "transpose", "contiguous", "to", "float"}
ARRANGING_MODULES = (nn.Flatten, nn.Unflatten, nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d)
LONG = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMALISING = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
WEIGHTED = (*LONG, *NORMALISING)
AT_ONCE = 1 << 26  # values of the widest layer that are bounded together
FEW = 15  # samples that what was read off a network is compared on
TIGHT = 3e9  # multiplications that bounds of hidden layers by CROWN may take


@dataclass(frozen=True)
class Step:
    """One node of the network: `run` on the values of `inputs`, which it leaves as they are."""

    node: fx.Node
    inputs: tuple[fx.Node, ...]
    run: Callable[..., Tensor]
    kind: str  # 'weighted', 'affine', 'sum', 'scaled', 'monotone', 'squashing'
    module: nn.Module | None = None

    @property
    def name(self) -> str:
        return name_of(self.node)

    @property
    def arranges(self) -> bool:
        """Are its values its one input's, moved about?"""
        return isinstance(self.module, ARRANGING_MODULES) or self.name in ARRANGING

    @property
    def is_relu(self) -> bool:
        return isinstance(self.module, nn.ReLU) or self.name == "relu"

    @property
    def takes_largest(self) -> bool:
        return isinstance(self.module, LARGEST_MODULES) or self.name in LARGEST


@dataclass(frozen=True)
class Network:
    """A feed-forward network as steps, from its input to its scores.

    Attributes:
        zero: of a single score, where the decision changes.
    """

    source: fx.Node
    steps: list[Step]
    output: fx.Node
    zero: float

    def intervals(self, ball: Ball) -> dict[fx.Node, tuple[Tensor, Tensor]]:
        """Lowest and highest value of every node over a budget, each [n, ...]."""
        found = {self.source: (ball.low, ball.high)}
        # Nodes whose values are the input's, moved about and scaled one by one: an L2 ball still.
        balls = {self.source: (ball.x, ball.radius)} if ball.norm == "l2" else {}
        for step in self.steps:
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
                low, high = found[step.node]
                found[step.node] = (
                    torch.maximum(low, middle - spread), torch.minimum(high, middle + spread)
                )
        return found


def network_of(subject: Subject) -> Network:
    """The subject's network, preprocessing included, as steps that bounds are known of.

    Raises:
        NotApplicable: it cannot be followed, or holds a layer without bounds; says which.
    """
    try:
        graph = fx.symbolic_trace(nn.Sequential(subject.preprocess, subject.core))
    except Exception as error:  # noqa: BLE001 - tracing runs the user's code
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise NotApplicable(f"the network's steps cannot be told apart ({said[:120]})") from None
    modules = dict(graph.named_modules())
    source = next(n for n in graph.graph.nodes if n.op == "placeholder")
    steps: list[Step] = []
    output: fx.Node | None = None
    for node in graph.graph.nodes:
        if node.op == "placeholder" and node is not source:
            raise NotApplicable("the network takes more than one input")
        if node.op in ("placeholder", "get_attr"):
            continue
        if node.op == "output":
            output = node.args[0] if isinstance(node.args[0], fx.Node) else None
            break
        if not counts_samples(node):
            steps.append(step_of(node, modules, graph))
    if output is None or not steps:
        raise NotApplicable("the network returns no single tensor that it computed")
    refuse_stale(source, steps)
    # The order of the classes is that of what is squashed; a threshold is on the score as it is.
    last, squashed = steps[-1], subject.meta.output != "logits" and subject.meta.task != "anomaly"
    if last.node is output and last.kind == "squashing" and squashed:
        (output,) = last.inputs
        steps.pop()
    zero = 0.0
    if subject.meta.task == "anomaly":
        zero = subject.meta.threshold or 0.0
    elif subject.meta.output in ("sigmoid", "probabilities") and output is last.node:
        zero = 0.5
    for step in steps:
        if step.kind == "squashing" and not (isinstance(step.module, nn.Sigmoid) or step.name == "sigmoid"):
            raise NotApplicable(f"no bounds are known of {step.node.target} within a network")
    return Network(source, steps, output, zero)


def refuse_stale(source: fx.Node, steps: list[Step]) -> None:
    """Raise NotApplicable where a value is used again that another step has changed in place."""
    memory = {source: source}  # node → whose memory its values may share
    stale: set[fx.Node] = set()
    for step in steps:
        if stale & set(step.inputs):
            raise NotApplicable(f"its step {step.name} uses again what was changed in place")
        first = memory[step.inputs[0]]
        memory[step.node] = step.node
        if changes_in_place(step):
            stale |= {node for node, owner in memory.items() if owner is first}
        elif step.kind == "affine":
            memory[step.node] = first


def changes_in_place(step: Step) -> bool:
    node = step.node
    return bool(
        getattr(step.module, "inplace", False) or node.kwargs.get("inplace")
        or raw_name(node).endswith("_") or node.target in (operator.iadd, operator.isub, operator.imul,
                                                          operator.itruediv)
        or (step.kind in ("monotone", "affine") and True in node.args[1:])
    )  # fmt: skip


def raw_name(node: fx.Node) -> str:
    return str(getattr(node.target, "__name__", node.target))


def name_of(node: fx.Node) -> str:
    """The function's or method's name; of a module its path, which is no function's."""
    return f"module {node.target}" if node.op == "call_module" else raw_name(node).rstrip("_")


def counts_samples(node: fx.Node) -> bool:
    """Is it `x.size(0)`, `x.shape` or `x.shape[0]`: the number of samples?"""
    if node.op == "call_method" and node.target == "size":
        return bool(node.args[1:] == (0,))
    if node.target is getattr:
        return bool(node.args[1] == "shape")
    source = node.args[0] if node.args else None
    return bool(
        node.target is operator.getitem and isinstance(source, fx.Node)
        and source.target is getattr and node.args[1] == 0
    )  # fmt: skip


def step_of(node: fx.Node, modules: dict[str, nn.Module], graph: fx.GraphModule) -> Step:
    counts = [n for n in node.all_input_nodes if counts_samples(n)]
    inputs = tuple(n for n in node.all_input_nodes if n.op != "get_attr" and n not in counts)
    constants = {n: attribute(graph, str(n.target)) for n in node.all_input_nodes if n.op == "get_attr"}
    if not inputs:
        raise NotApplicable(f"its step {name_of(node)} does not follow from the input")
    if node.op == "call_module":
        module = modules[str(node.target)]
        kind = module_kind(module)
        if not kind or len(inputs) != 1:
            raise NotApplicable(f"no bounds are known of its layer {type(module).__name__}")
        return Step(node, inputs, lambda value: module(value.clone()), kind, module)

    def fill(values: tuple[Tensor, ...], item: Any) -> Any:
        def value(n: fx.Node) -> Any:
            if n in counts:
                return len(values[0])
            return constants[n] if n in constants else values[inputs.index(n)]

        return fx.node.map_arg(item, value)

    def run(*values: Tensor) -> Tensor:
        own = tuple(v.clone() for v in values)  # it may change them in place
        args, kwargs = fill(own, node.args), fill(own, node.kwargs)
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)  # type: ignore[no-any-return]
        return node.target(*args, **kwargs)  # type: ignore[operator, no-any-return]

    kind = function_kind(node, inputs)
    if not kind:
        raise NotApplicable(f"no bounds are known of its step {name_of(node) or node.target}")
    return Step(node, inputs, run, kind)


def module_kind(module: nn.Module) -> str:
    """The kind of a layer's step; empty where no bounds are known of it."""
    if isinstance(module, NORMALISING) and module.running_mean is None:
        return ""  # the other samples are in its answer
    falling = (
        (isinstance(module, nn.LeakyReLU) and module.negative_slope < 0)
        or (isinstance(module, nn.ELU) and module.alpha < 0)
        or (isinstance(module, nn.Softplus) and module.beta < 0)
    )
    return (
        "" if falling else
        "weighted" if isinstance(module, WEIGHTED) else
        "affine" if isinstance(module, AFFINE_MODULES) else
        "squashing" if isinstance(module, SQUASHING) else
        "monotone" if isinstance(module, MONOTONE_MODULES) else ""
    )  # fmt: skip


def function_kind(node: fx.Node, inputs: tuple[fx.Node, ...]) -> str:
    """The kind of a function's or method's step; empty where no bounds are known of it."""
    name = name_of(node)
    if name in SUMS or name in ("sub", "isub"):
        # A factor of its own may be below zero.
        return "" if "alpha" in node.kwargs else "scaled" if name in ("sub", "isub") else "sum"
    if len(inputs) != 1:
        return ""
    (one,) = inputs
    if name in PRODUCTS:
        # By a constant: not its own square, not one over it.
        twice = sum(a is one for a in (*node.args, *node.kwargs.values())) > 1
        return "" if twice or (node.args[0] is not one and name not in ("mul", "imul")) else "scaled"
    if name == "neg":
        return "scaled"

    def given(position: int, keyword: str, default: Any) -> Any:
        return node.args[position] if len(node.args) > position else node.kwargs.get(keyword, default)

    refused = (
        (name == "dropout" and given(2, "training", True) is not False)
        or (name == "interpolate" and given(3, "mode", "nearest") == "bicubic")  # overshoots
        or (name == "leaky_relu" and given(1, "negative_slope", 0.01) < 0)
        or (name == "elu" and given(1, "alpha", 1.0) < 0)
        or (name == "softplus" and given(1, "beta", 1.0) < 0)
    )
    return (
        "" if refused else
        "squashing" if name in SQUASHING_NAMES else
        "affine" if name in AFFINE_NAMES else
        "monotone" if name in MONOTONE_NAMES else ""
    )  # fmt: skip


def attribute(graph: fx.GraphModule, path: str) -> Any:
    return operator.attrgetter(path)(graph)


def forward(step: Step, given: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
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
        return module._conv_forward(squares, module.weight**2, None).sqrt()  # type: ignore[arg-type]
    if isinstance(module, nn.Linear):
        return F.linear(radius, module.weight.abs())
    if isinstance(module, NORMALISING):
        shift = module(torch.zeros_like(radius))
        return (module(radius) - shift).abs()
    assert isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d))
    if module.padding_mode != "zeros":
        raise NotApplicable(f"no bounds are known of a convolution with padding {module.padding_mode}")
    return module._conv_forward(radius, module.weight.abs(), None)  # type: ignore[arg-type]


def lower_bound(
    network: Network, intervals: dict[fx.Node, tuple[Tensor, Tensor]], ball: Ball, at: fx.Node,
    rows: Tensor,
) -> Tensor:  # fmt: skip
    """[n, r] lower bounds of the sums `rows` [n, r, ...] times the values of a node.

    Backwards: a linear bound on a step's values becomes one on its inputs, until it is one on the
    network's input, which is bounded over the budget exactly.
    """
    n, r = rows.shape[:2]
    weights: dict[fx.Node, Tensor] = {at: rows.flatten(0, 1)}
    constant = torch.zeros(n * r, device=rows.device)
    for step in reversed(network.steps):
        weight = weights.pop(step.node, None)
        if weight is None:
            continue
        bounds = [tuple(b.repeat_interleave(r, 0) for b in intervals[i]) for i in step.inputs]
        pulled, added = backward(step, weight, bounds, intervals[step.node], r)
        constant = constant + added
        for node, part in zip(step.inputs, pulled, strict=True):
            weights[node] = weights[node] + part if node in weights else part
    left = weights.get(network.source)
    if left is None:
        return constant.reshape(n, r)
    left = left.reshape(n, r, -1)
    low, high = (intervals[network.source][i].flatten(1)[:, None] for i in (0, 1))
    bound = (left.clamp_min(0) * low + left.clamp_max(0) * high).sum(2)
    if ball.norm == "l2":
        # The set lies in the box and in the ball: the better of both bounds holds.
        centre = (left * ball.x.flatten(1)[:, None]).sum(2)
        reach = (left * ball.radius.flatten(1)[:, None]).norm(dim=2)
        bound = torch.maximum(bound, centre - reach)
    return bound + constant.reshape(n, r)


def backward(
    step: Step, weight: Tensor, bounds: list[tuple[Tensor, ...]], own: tuple[Tensor, Tensor], r: int
) -> tuple[list[Tensor], Tensor]:
    """What a lower bound of weight times a step's values is, in its inputs' values."""
    up, down = weight.clamp_min(0), weight.clamp_max(0)
    if step.kind in ("weighted", "affine", "sum", "scaled"):
        with torch.enable_grad():
            zeros = [torch.zeros_like(low).requires_grad_(True) for low, _ in bounds]
            value = step.run(*zeros)
            pulled = torch.autograd.grad(value, zeros, weight)
        return list(pulled), (weight * value.detach()).flatten(1).sum(1)
    (low, high), *_ = bounds
    if step.is_relu:
        crossing = (low < 0) & (high > 0)
        slope = torch.where(crossing, high / (high - low).clamp_min(1e-12), (low >= 0).float())
        floor = torch.where(crossing, (high > -low).float(), slope)
        added = torch.where(crossing, -down * slope * low, 0.0)
        return [up * floor + down * slope], added.flatten(1).sum(1)
    if step.takes_largest:
        # At least the value that is largest at the lower ends; at most the largest upper end.
        with torch.enable_grad():
            point = low.clone().requires_grad_(True)
            (routed,) = torch.autograd.grad(step.run(point), point, up)
        return [routed], (down * step.run(high)).flatten(1).sum(1)
    least, most = (b.repeat_interleave(r, 0) for b in own)
    return [torch.zeros_like(low)], (up * least + down * most).flatten(1).sum(1)


def margins(subject: Subject, network: Network, ball: Ball, y: Tensor) -> Tensor:
    """[n] a lower bound, over the budget, of how far the class `y` leads."""
    intervals = network.intervals(ball)
    tighten(network, intervals, ball)
    wide = intervals[network.output][0]
    n, k = len(wide), wide[0].numel()
    if k == 1:
        sign = torch.where(y == 1, 1.0, -1.0).to(wide)
        rows = sign.reshape(n, 1, *[1] * (wide.ndim - 1)).expand(n, 1, *wide.shape[1:])
        return lower_bound(network, intervals, ball, network.output, rows)[:, 0] - sign * network.zero
    if wide.ndim != 2:
        raise NotApplicable(f"the network's scores have shape {list(wide.shape[1:])}")
    eye = torch.eye(k, device=wide.device)
    others = torch.stack([torch.cat([eye[:c], eye[c + 1 :]]) for c in range(k)])
    rows = eye[y][:, None] - others[y]
    return lower_bound(network, intervals, ball, network.output, rows).amin(1)


def tighten(
    network: Network, intervals: dict[fx.Node, tuple[Tensor, Tensor]], ball: Ball
) -> None:
    """Bounds of what goes into activations by CROWN too, where that is affordable."""
    size = sum(p.numel() for s in network.steps if s.module is not None for p in s.module.parameters())
    done: list[Step] = []
    for step in network.steps:
        if step.kind == "monotone" and done and done[-1].kind == "weighted":
            low, high = intervals[step.inputs[0]]
            width = low[0].numel()
            spatial = max(1, max(i[0][0].numel() for i in intervals.values()) // 64)
            if any(d.kind == "monotone" for d in done) and len(low) * width * size * spatial <= TIGHT:
                eye = torch.eye(width, device=low.device).reshape(1, width, *low.shape[1:])
                rows = eye.expand(len(low), *eye.shape[1:])
                least = lower_bound(network, intervals, ball, step.inputs[0], rows)
                most = -lower_bound(network, intervals, ball, step.inputs[0], -rows)
                intervals[step.inputs[0]] = (
                    torch.maximum(low, least.reshape(low.shape)),
                    torch.minimum(high, most.reshape(high.shape)),
                )
        if done and step.inputs and step.inputs[0] is not network.source:
            # What follows from bounds made tighter.
            fresh = forward(step, [intervals[i] for i in step.inputs])
            old = intervals[step.node]
            intervals[step.node] = (torch.maximum(old[0], fresh[0]), torch.minimum(old[1], fresh[1]))
        done.append(step)


@producer(version=2)
def certified_eps(
    batch: Batch, *, highest: float, halvings: int, at: float = 0.0, norm: Norm = "linf"
) -> dict[str, Tensor]:
    """The largest budget within which each sample's right answer is proven, by bisection.

    Args:
        highest: where the search starts; a proof there is not followed further.
        at: a budget that is tried besides, so that what is said of it is exact.
        halvings: of the interval, in logarithms from `highest` / 2 ** 12.

    Returns:
        eps [n]: 0 where the answer is wrong or nothing is proven.
    """
    subject = batch.subject
    network = network_of(subject)
    unit = budget(subject, 1.0, norm)
    with torch.no_grad():
        right = subject.logits(batch.x).argmax(1) == batch.y
        one = network.intervals(unit.around(batch.x[:1]))
        widest = max(low.numel() for low, _ in one.values()) * max(len(subject.classes) - 1, 1)
        together = max(1, AT_ONCE // widest)

        def proven(eps: Tensor) -> Tensor:
            parts = torch.arange(len(eps), device=eps.device).split(together)
            return torch.cat([
                margins(subject, network, unit.times(eps[part]).around(batch.x[part]), batch.y[part])
                > 0 for part in parts
            ])  # fmt: skip

        top = torch.full((len(batch.x),), highest, device=batch.x.device)
        bottom = top / 2**12
        least, most = proven(bottom), proven(top)
        low, high = bottom.log2(), top.log2()
        for _ in range(halvings):
            middle = (low + high) / 2
            holds = proven(2**middle)
            low, high = torch.where(holds, middle, low), torch.where(holds, high, middle)
        eps = torch.where(most, top, torch.where(least, 2**low, 0.0))
        if at:
            asked = torch.full_like(top, at)
            eps = torch.where(proven(asked), eps.maximum(asked), eps)
    return {"eps": torch.where(right, eps, 0.0)}


def boundable(subject: Subject) -> None:
    """Raise NotApplicable, with the layer's name, where the network's answers cannot be bounded."""
    network = network_of(subject)
    assert subject.x is not None
    with torch.no_grad():
        x, y = subject.batch(range(min(subject.n, FEW)))
        ball = budget(subject, 0.0).around(x)
        low, high = network.intervals(ball)[network.output]
        # Of a budget of nothing the bounds are the scores, or the network was read wrongly.
        found = (low.flatten(1) > network.zero).long()[:, 0] if low[0].numel() == 1 else low.argmax(1)
        if not torch.allclose(low, high, rtol=1e-3, atol=1e-4) or not bool(
            (found == subject.logits(x).argmax(1)).all()
        ):
            raise NotApplicable("what was read off the network answers otherwise than the network")
        margins(subject, network, ball[torch.arange(min(len(x), 2))], y[:2])

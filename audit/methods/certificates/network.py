"""A network as steps that bounds are known of: affine, monotone, or refused by name.

A layer that is affine is told by the tables below; everything else has to be monotone, so that an
interval's ends map to its image's ends. What a step does is run by the network's own code.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx, nn

from audit.errors import NotApplicable
from audit.methods.certificates.activations import SIGMOID, TANH, Bent, Bowed
from audit.subject import Subject
from audit.subject.wrapping import ACTIVATIONS

AFFINE_MODULES = (
    nn.Flatten,
    nn.Unflatten,
    nn.Identity,
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.AvgPool1d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d,
)
MONOTONE_MODULES = (
    nn.ReLU,
    nn.LeakyReLU,
    nn.ReLU6,
    nn.Sigmoid,
    nn.Tanh,
    nn.ELU,
    nn.Softplus,
    nn.Hardtanh,
    nn.MaxPool1d,
    nn.MaxPool2d,
    nn.AdaptiveMaxPool1d,
    nn.AdaptiveMaxPool2d,
)
SQUASHING = (nn.Softmax, nn.LogSoftmax, nn.Sigmoid)
# By the name of a function or a tensor's method. All increase with their one tensor.
AFFINE_NAMES = {
    "flatten",
    "reshape",
    "view",
    "permute",
    "transpose",
    "squeeze",
    "unsqueeze",
    "contiguous",
    "to",
    "float",
    "mean",
    "sum",
    "avg_pool1d",
    "avg_pool2d",
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "interpolate",
    "dropout",
    "getitem",
    "expand",
}
MONOTONE_NAMES = {
    "relu",
    "leaky_relu",
    "relu6",
    "sigmoid",
    "tanh",
    "elu",
    "softplus",
    "hardtanh",
    "clamp",
    "clamp_min",
    "clamp_max",
    "max_pool1d",
    "max_pool2d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "amax",
}
SQUASHING_NAMES = {"softmax", "log_softmax", "sigmoid"}
SUMS = {"add", "iadd", "cat", "concat", "stack"}
PRODUCTS = {"mul", "imul", "truediv", "itruediv", "div"}
LARGEST = {"max_pool1d", "max_pool2d", "adaptive_max_pool1d", "adaptive_max_pool2d", "amax"}
LARGEST_MODULES = (nn.MaxPool1d, nn.MaxPool2d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d)
ARRANGING = {"flatten", "reshape", "view", "permute", "transpose", "contiguous", "to", "float"}
POOLING_MODULES = (nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d)
POOLING_NAMES = {"max_pool1d", "max_pool2d", "avg_pool1d", "avg_pool2d"}
SAME_MODULES = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d)
ARRANGING_MODULES = (nn.Flatten, nn.Unflatten, *SAME_MODULES)
LONG = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMALISING = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
WEIGHTED = (*LONG, *NORMALISING)


Pooling = tuple[tuple[int, int], ...]


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
    def keeps(self) -> bool:
        """Are its values its one input's, as they are?"""
        return isinstance(self.module, SAME_MODULES)

    @property
    def adds(self) -> bool:
        """Is it the sum of its inputs (of the same shape), and no more?"""
        return self.name in ("add", "iadd") and len(self.inputs) == len(self.node.args) == 2

    @property
    def in_place(self) -> bool:
        """Does each value follow from the inputs' values of the same place alone?"""
        linear = self.keeps or self.adds or isinstance(self.module, NORMALISING)
        return linear or self.activation is not None

    @property
    def activation(self) -> Bent | Bowed | None:
        """The function of each value, where lines are known that it lies between."""
        if isinstance(self.module, nn.ReLU) or self.name == "relu":
            return Bent(0.0)
        if isinstance(self.module, nn.Sigmoid) or self.name == "sigmoid":
            return SIGMOID
        if isinstance(self.module, nn.Tanh) or self.name == "tanh":
            return TANH
        slope: Any = None
        if isinstance(self.module, nn.LeakyReLU):
            slope = self.module.negative_slope
        elif self.name == "leaky_relu":
            slope = argument(self.node, 1, "negative_slope", 0.01)
        return Bent(float(slope)) if slope is not None and 0 <= slope <= 1 else None

    @property
    def pooling(self) -> Pooling | None:
        """Of a pooling that reads nothing beyond the edge: its kernel and stride, on each axis."""
        if isinstance(self.module, POOLING_MODULES):
            name, module = type(self.module).__name__, self.module
            kernel, stride, padding = module.kernel_size, module.stride, module.padding
            dilation, ceil = getattr(module, "dilation", 1), module.ceil_mode
        elif self.name in POOLING_NAMES:
            name, largest = self.name, self.name.startswith("max")
            kernel = argument(self.node, 1, "kernel_size", None)
            stride = argument(self.node, 2, "stride", None) or kernel
            padding = argument(self.node, 3, "padding", 0)
            dilation = argument(self.node, 4, "dilation", 1) if largest else 1
            ceil = argument(self.node, 5 if largest else 4, "ceil_mode", False)
        else:
            return None
        axes = 1 if "1d" in name else 2
        if ceil or any(each(padding, axes)) or set(each(dilation, axes)) != {1}:
            return None
        return tuple(zip(each(kernel, axes), each(stride, axes), strict=True))

    @property
    def curved(self) -> bool:
        return self.kind in ("monotone", "squashing")

    @property
    def takes_largest(self) -> bool:
        return isinstance(self.module, LARGEST_MODULES) or self.name in LARGEST


@dataclass(frozen=True)
class TracedNetwork:
    """A feed-forward network as steps, from its input to its scores.

    Attributes:
        zero: of a single score, where the decision changes.
    """

    source: fx.Node
    steps: list[Step]
    output: fx.Node
    zero: float


def network_of(subject: Subject) -> TracedNetwork:
    """The subject's network, preprocessing included, as steps that bounds are known of.

    Raises:
        NotApplicable: it cannot be followed, or holds a layer without bounds; says which.
    """
    if subject.network.dtype.itemsize < 4:
        said = str(subject.network.dtype).removeprefix("torch.")
        raise NotApplicable(
            f"the model computes in {said}, whose rounding is larger than bounds allow for"
        )
    if subject.network.feed is not None:
        raise NotApplicable("the network takes more than one input")
    try:
        graph = fx.symbolic_trace(nn.Sequential(subject.network.preprocess, subject.core))
    except Exception as error:  # noqa: BLE001 - tracing runs the user's code
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise NotApplicable(f"the network's steps cannot be told apart ({said[:120]})") from None
    source, steps, output = followed(graph)
    refuse_stale(source, steps)
    # The order of the classes is that of what is squashed; a threshold is on the score as it is.
    last, squashed = steps[-1], subject.meta.output in ACTIVATIONS
    if last.node is output and last.kind == "squashing" and squashed:
        (output,) = last.inputs
        steps.pop()
    zero = 0.0
    threshold = subject.task.threshold(subject.meta)
    if threshold is not None:
        zero = threshold
    elif subject.meta.output in ("sigmoid", "probabilities") and output is last.node:
        zero = 0.5
    for step in steps:
        if step.kind == "squashing" and not (
            isinstance(step.module, nn.Sigmoid) or step.name == "sigmoid"
        ):
            raise NotApplicable(f"no bounds are known of {step.node.target} within a network")
    return TracedNetwork(source, steps, output, zero)


def followed(graph: fx.GraphModule) -> tuple[fx.Node, list[Step], fx.Node]:
    """The input, the steps and the output of a traced network.

    Raises:
        NotApplicable: it has several inputs or outputs, or a step without bounds.
    """
    nodes = list(graph.graph.nodes)
    source, *others = [n for n in nodes if n.op == "placeholder"]
    if others:
        raise NotApplicable("the network takes more than one input")
    modules = dict(graph.named_modules())
    steps = [
        step_of(node, modules, graph)
        for node in nodes
        if node.op.startswith("call_") and not counts_samples(node)
    ]
    (output,) = [n.args[0] for n in nodes if n.op == "output"]
    if not isinstance(output, fx.Node) or not steps:
        raise NotApplicable("the network returns no single tensor that it computed")
    return source, steps, output


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
    """Does the step write over its input, which others may still read?"""
    node = step.node
    return bool(
        getattr(step.module, "inplace", False)
        or node.kwargs.get("inplace")
        or raw_name(node).endswith("_")
        or node.target in (operator.iadd, operator.isub, operator.imul, operator.itruediv)
        or (step.kind in ("monotone", "affine") and any(a is True for a in node.args[1:]))
    )


def raw_name(node: fx.Node) -> str:
    """The name of the function that a node calls, as it was written."""
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
        node.target is operator.getitem
        and isinstance(source, fx.Node)
        and source.target is getattr
        and node.args[1] == 0
    )


def step_of(node: fx.Node, modules: dict[str, nn.Module], graph: fx.GraphModule) -> Step:
    """A node of the traced graph as a step that can be bounded.

    Raises:
        NotApplicable: no bound is known for it.
    """
    counts = [n for n in node.all_input_nodes if counts_samples(n)]
    inputs = tuple(n for n in node.all_input_nodes if n.op != "get_attr" and n not in counts)
    constants = {
        n: attribute(graph, str(n.target)) for n in node.all_input_nodes if n.op == "get_attr"
    }
    if not inputs:
        raise NotApplicable(f"its step {name_of(node)} does not follow from the input")
    if node.op == "call_module":
        return layer_step(node, inputs, modules[str(node.target)])

    def fill(values: tuple[Tensor, ...], item: Any) -> Any:
        known = {**constants, **{n: len(values[0]) for n in counts}}
        return fx.node.map_arg(item, lambda n: known[n] if n in known else values[inputs.index(n)])

    def run(*values: Tensor) -> Tensor:
        own = tuple(v.clone() for v in values)  # it may change them in place
        args, kwargs = fill(own, node.args), fill(own, node.kwargs)
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        return node.target(*args, **kwargs)  # type: ignore[operator]

    kind = function_kind(node, inputs)
    if name_of(node) == "squeeze" and len(node.args) < 2 and not node.kwargs:
        raise NotApplicable("its step squeeze, without an axis, takes that of a single sample away")
    if not kind:
        raise NotApplicable(f"no bounds are known of its step {name_of(node) or node.target}")
    return Step(node, inputs, run, kind)


def layer_step(node: fx.Node, inputs: tuple[fx.Node, ...], module: nn.Module) -> Step:
    """A layer that is called, as a step.

    Raises:
        NotApplicable: no bound is known for it.
    """
    kind = module_kind(module)
    if not kind or len(inputs) != 1:
        raise NotApplicable(f"no bounds are known of its layer {type(module).__name__}")
    return Step(node, inputs, lambda value: module(value.clone()), kind, module)


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
        ""
        if falling
        else "weighted"
        if isinstance(module, WEIGHTED)
        else "affine"
        if isinstance(module, AFFINE_MODULES)
        else "squashing"
        if isinstance(module, SQUASHING)
        else "monotone"
        if isinstance(module, MONOTONE_MODULES)
        else ""
    )


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
        return (
            "" if twice or (node.args[0] is not one and name not in ("mul", "imul")) else "scaled"
        )
    if name == "neg":
        return "scaled"

    refused = (
        (name == "dropout" and argument(node, 2, "training", True) is not False)
        or (
            name == "interpolate" and argument(node, 3, "mode", "nearest") == "bicubic"
        )  # overshoots
        or (name == "leaky_relu" and argument(node, 1, "negative_slope", 0.01) < 0)
        or (name == "elu" and argument(node, 1, "alpha", 1.0) < 0)
        or (name == "softplus" and argument(node, 1, "beta", 1.0) < 0)
    )
    return (
        ""
        if refused
        else "squashing"
        if name in SQUASHING_NAMES
        else "affine"
        if name in AFFINE_NAMES
        else "monotone"
        if name in MONOTONE_NAMES
        else ""
    )


def each(value: Any, axes: int) -> tuple[int, ...]:
    """One number for all axes, or one for each, as one for each."""
    return (int(value),) * axes if isinstance(value, int) else tuple(int(v) for v in value)


def argument(node: fx.Node, position: int, keyword: str, default: Any) -> Any:
    """An argument of a traced call, however it was passed."""
    return node.args[position] if len(node.args) > position else node.kwargs.get(keyword, default)


def attribute(graph: fx.GraphModule, path: str) -> Any:
    """The tensor that a node reads off the traced module."""
    return operator.attrgetter(path)(graph)

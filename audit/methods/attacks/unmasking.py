"""Around masked gradients: what a network does not tell the attacker is put in its place.

A model whose gradients vanish or lie is not robust for it. Athalye et al. 2018 (section 4) break
such models by a backward pass of one's own (BPDA), by averaging over the model's random draws (EOT),
and Carlini and Wagner 2017 (section IV) by rescaled logits. All are done here, to any eager network:

- rounding, signs, `detach` and `no_grad` pass gradients on as if they were not there;
- where a tensor of the input's shape, or of its own module's input's, carries no gradient, it is
  tied to that input again;
- scores are what went into the last softmax or sigmoid, divided by their spread;
- of a network that draws lots, answers and gradients are means over draws.

Answers are the model's own throughout: what counts as broken is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from audit.draws import Draws
from audit.methods.attacks.apgd import ascend
from audit.methods.attacks.ascent import Ascended, as_valid
from audit.methods.attacks.budgets import Bounds, Budget, Norm
from audit.methods.attacks.goals import Loss, Model, Victim

STEPS = {"round", "floor", "ceil", "trunc", "fix", "sign", "sgn", "detach"}
OUTSIDE = {"numpy", "__array__", "tolist"}
APART = 5.0  # standard deviation of scores at which no softmax saturates in single precision
SQUASHING = {"softmax", "log_softmax", "sigmoid", "logsigmoid"}


class _Repairing(TorchFunctionMode):
    """Lets gradients through functions that have none, and remembers what was squashed last."""

    def __init__(self) -> None:
        super().__init__()
        self.squashed: Tensor | None = None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in OUTSIDE:  # a real detach: the tensor leaves for good
            args = (args[0].detach(), *args[1:])
        if name == "_set_grad_enabled":  # `torch.no_grad()` within the network
            args = (True,)
        result = func(*args, **(kwargs or {}))
        source = args[0] if args else (kwargs or {}).get("input")
        if not isinstance(source, Tensor) or not isinstance(result, Tensor):
            return result
        if name in SQUASHING:
            self.squashed = source
        if name in STEPS and source.requires_grad and result.shape == source.shape:
            return through(result, source)
        return result


def through(value: Tensor, source: Tensor) -> Tensor:
    """`value`, with the gradient of `source`."""
    with torch._C.DisableTorchFunction():
        return value.detach() + (source - source.detach()).to(value.dtype)


def flows(result: Tensor, source: Tensor) -> bool:
    """Does any gradient go from a result back to its source?"""
    if not result.requires_grad:
        return False
    with torch._C.DisableTorchFunction():
        (gradient,) = torch.autograd.grad(
            result.sum(), source, retain_graph=True, allow_unused=True
        )
    return gradient is not None and bool((gradient != 0).any())


def floats(value: Any) -> Tensor | None:
    """The first tensor of numbers with fractions that a layer was given or gave."""
    first = value[0] if isinstance(value, tuple) and value else value
    return first if isinstance(first, Tensor) and first.is_floating_point() else None


Ties = dict[tuple[str, int], bool]  # (before or after, module) → was its gradient cut?


@contextmanager
def tied(network: nn.Module, point: Tensor, known: Ties) -> Iterator[None]:
    """Gradients flow through every module that keeps its input's shape, and up to the first.

    Args:
        known: where they are cut, filled by the first forward pass and used by the next.
    """

    def cut(where: str, module: nn.Module, value: Tensor, source: Tensor) -> bool:
        key = (where, id(module))
        if key not in known:
            known[key] = not flows(value, source)
        return known[key]

    def before(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        given = floats(args)
        if given is None or given is point or given.shape != point.shape:
            return None
        return (through(given, point), *args[1:]) if cut("before", module, given, point) else None

    def after(module: nn.Module, args: tuple[Any, ...], result: Any) -> Any:
        given, made = floats(args), floats((result,))
        if given is None or made is None or made.shape != given.shape or not given.requires_grad:
            return None
        return through(made, given) if cut("after", module, made, given) else None

    handles = []
    try:
        for module in network.modules():
            handles += [
                module.register_forward_pre_hook(before),
                module.register_forward_hook(after),
            ]
        yield
    finally:
        for handle in handles:
            handle.remove()


def repaired(victim: Victim, point: Tensor, means: int, known: Ties) -> Tensor:
    """[n, classes] scores whose greatest is the model's answer and whose gradient is not hidden."""
    total: Tensor | None = None
    assert victim.network is not None
    for _ in range(means):
        with tied(victim.network, point, known), _Repairing() as mode:
            scores = victim.scores(point)
        inner = mode.squashed
        if inner is not None and inner.shape == scores.shape:
            # Saturated answers are tied; there any order among the ties is the model's.
            at = inner.argmax(1, keepdim=True)
            same = scores.gather(1, at)[:, 0] >= scores.amax(1)
            if bool(same.all()):
                scores = inner
        total = scores if total is None else total + scores
    assert total is not None
    # The gradient of the cross-entropy rounds to zero where scores lie far apart.
    return total / (total.detach().std(1).mean() / APART).clamp_min(1.0)


def open_scores(victim: Victim, means: int = 1) -> Callable[[Tensor, Tensor], Tensor]:
    """A victim's scores with gradients that are not hidden: (points, rows) → [m, classes].

    Args:
        means: forward passes that an answer is the mean of.
    """
    known: Ties = {}

    def scores(point: Tensor, rows: Tensor) -> Tensor:
        if victim.network is None or not point.requires_grad:
            return victim.logits(point, rows)
        with torch.enable_grad():
            return repaired(victim, point, means, known)

    return scores


def unmasked(
    model: Model | Victim,
    x: Tensor,
    y: Tensor,
    eps: float | Budget,
    *,
    loss: Loss = "ce",
    steps: int = 40,
    means: int = 1,
    norm: Norm = "linf",
    bounds: Bounds | None = None,
    seed: int | Draws = 0,
) -> Ascended:
    """Auto-PGD around masked gradients.

    Args:
        model: a network, points [n, ...] → scores [n, classes]; of another callable only what PyTorch
            computes in the open is mended.
        x: [n, ...] samples. y: [n] the class that each has to leave.
        eps: largest change of each value (Linf) or of all together (L2), in the units of `x`; or a budget.
        means: forward passes that an answer is the mean of, for a model that draws lots; broken is then
            what the mean answer says.
        bounds: the lowest and the highest value that an input may have; none where None.

    Raises:
        ValueError: eps, the norm or the bounds are none.

    Example:
        >>> class Rounded(torch.nn.Module):
        ...     def forward(self, x):
        ...         z = (100 * x).round()
        ...         return torch.cat([-z, z], 1)
        >>> unmasked(Rounded(), torch.tensor([[0.1], [0.9]]), torch.tensor([1, 1]), 0.2).broken.tolist()
        [True, False]
    """
    victim, allowed = Victim.of(model), Budget.of(eps, x, norm, bounds)
    draws = Draws.of(seed, len(x))

    def answers(point: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.stack([victim.logits(point) for _ in range(means)]).mean(0)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(draws.seeds[0] % (1 << 62)))
        found = ascend(
            open_scores(victim, means),
            x,
            y,
            allowed,
            steps=steps,
            kind=loss,
            start=draws.uniform(0, x.shape[1:], x),
        )
        made = as_valid(victim, found)
        return replace(made, broken=made.broken & (answers(made.x).argmax(1) != y))

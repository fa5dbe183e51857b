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
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from audit.evidence import Batch, producer
from audit.methods.attacks.apgd import ascend
from audit.methods.attacks.ascent import as_evidence
from audit.methods.attacks.budgets import Norm, budget
from audit.methods.attacks.goals import Goal, Loss, goal
from audit.subject import Subject

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


def repaired(subject: Subject, point: Tensor, draws: int, known: Ties) -> Tensor:
    """[n, classes] scores whose greatest is the model's answer and whose gradient is not hidden."""
    total: Tensor | None = None
    for _ in range(draws):
        with tied(subject.model, point, known), _Repairing() as mode:
            scores = subject.logits(point)
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


def open_scores(aim: Goal, draws: int = 1) -> Callable[[Tensor, Tensor], Tensor]:
    """The scores of a goal with gradients that are not hidden: (points, rows) → [m, classes]."""
    known: Ties = {}

    def scores(point: Tensor, rows: Tensor) -> Tensor:
        if not aim.subject.task.decides or not point.requires_grad:
            return aim.logits(point, rows)
        with torch.enable_grad():
            return repaired(aim.subject, point, draws, known)

    return scores


@producer(version=1, private=("x",))
def unmasked(
    batch: Batch, *, eps: float, steps: int, loss: Loss, draws: int = 1, norm: Norm = "linf"
) -> dict[str, Tensor]:
    """Auto-PGD around masked gradients.

    Args:
        draws: forward passes that an answer is the mean of, for a model that draws lots.

    Returns:
        as `apgd`; of several draws, broken is what the mean answer says.
    """
    subject = batch.subject
    aim = goal(subject, batch.x, batch.y)

    def answers(point: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.stack([aim.logits(point) for _ in range(draws)]).mean(0)

    start = batch.uniform(0, batch.x.shape[1:])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(batch.seeds[0] % (1 << 62)))
        made = as_evidence(
            ascend(
                open_scores(aim, draws),
                batch.x,
                aim.y,
                budget(subject, eps, norm),
                steps=steps,
                kind=loss,
                start=start,
            ),
            aim,
        )
        made["broken"] &= answers(made["x"]).argmax(1) != aim.y
    return made

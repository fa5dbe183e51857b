"""The contract that every check keeps with every input kind and every task; for plug-ins too.

    from audit.testing import check_contract, tiny_subject

    outcome = check_contract("robustness.noise", tiny_subject("tabular", "regression"))
    assert outcome.measured

A check measures, or says why it does not apply; it never raises. What it measures has units and
intervals that hold the value, is the same when it is asked again, costs no more passes than it
declared (nor, where it says so, far fewer), and leaves the model as it was.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from audit.checking import Check, Measurement
from audit.errors import NotApplicable
from audit.plan import build_check
from audit.record import Metric
from audit.rooms import INPUTS, TASKS, room, rooms
from audit.subject import Subject

N = 60
WORDS = 64  # numbers that a tiny model of whole numbers knows
OVERRUN = 1.5  # times what was declared, and what was declared of what was made
FEW_PASSES = 500  # that a check of a tiny model may declare and not make


class ContractBroken(AssertionError):
    """What a check did that it must not."""


@dataclass(frozen=True)
class Kept:
    """How a check kept its contract with one subject.

    Attributes:
        reason: why it does not apply; empty where it measured.
        passes: samples that the model answered; declared: as the check said, with the answers that all
            checks share.
    """

    measured: bool
    reason: str = ""
    passes: int = 0
    declared: int = 0


class TinyModel(nn.Module):
    """Numbers of any shape, or words, → [n, width]."""

    def __init__(self, x: Tensor, width: int) -> None:
        super().__init__()
        self.words = None if x.is_floating_point() else nn.Embedding(WORDS, 8)
        inner = x[0].numel() if self.words is None else 8
        self.body = nn.Sequential(
            nn.Flatten(), nn.Linear(inner, 16), nn.ReLU(), nn.Linear(16, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        answers: Tensor = self.body(x if self.words is None else self.words(x).mean(1))
        return answers


def tiny_subject(kind: str, task: str, n: int = N) -> Subject:
    """A random network of an input kind and a task, with data that it mostly answers well."""
    generator = torch.Generator().manual_seed(0)
    inputs, answers = room(INPUTS, kind), room(TASKS, task)
    x, known = inputs.tiny(2 * n, generator)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = TinyModel(x, answers.tiny_width).eval()
    with torch.no_grad():
        said = model(x)
        for layer in (model.body[-1],):  # answers apart from one another, about zero
            layer.weight /= said.std().clamp_min(1e-6)
            layer.bias -= said.mean(0)
        y = answers.tiny_labels(model(x), generator)
    people = ["a", "b"] * n
    return Subject(
        model,
        x[:n],
        y[:n],
        train=(x[n:], y[n:]),
        sensitive={"group": people[:n]},
        task=task,
        input={"kind": kind, **known},
    )


def pairs() -> Iterator[tuple[str, str]]:
    """All (input kind, task) that are installed."""
    return itertools.product(sorted(rooms(INPUTS)), sorted(rooms(TASKS)))


def check_contract(check: str | Check, subject: Subject, profile: str = "quick") -> Kept:
    """Ask one check of one subject, twice.

    Args:
        check: its id, or the check with its parameters.

    Raises:
        ContractBroken: it raised, harmed the model, measured nonsense, measured something else the
            second time, or cost another number of passes than it declared.
    """
    asked = build_check(check, profile) if isinstance(check, str) else check
    before = state_of(subject)
    try:
        with counting(subject.core) as passes:
            asked.applies(subject)
            declared = asked.cost(subject)
            passes.clear()
            first = asked.measure(subject)
            made = sum(passes)
        again = asked.measure(subject)
    except NotApplicable as reason:
        if not str(reason).strip():
            raise ContractBroken(f"{asked.id} does not apply and says no reason") from None
        return Kept(False, str(reason))
    except Exception as error:
        raise ContractBroken(f"{asked.id} raised {type(error).__name__}: {error}") from error
    if state_of(subject) != before:
        raise ContractBroken(f"{asked.id} left the model otherwise than it found it")
    for metric in first.metrics:
        sound(asked.id, metric)
    if not first.answer.strip() or "{" in first.answer:
        raise ContractBroken(f"{asked.id} answers {first.answer!r}")
    if told(first) != told(again):
        raise ContractBroken(f"{asked.id} measures something else when it is asked again")
    shared = 3 * subject.n + (len(subject.train[0]) if subject.train else 0)
    allowed = OVERRUN * (declared.forward + shared)
    if made > allowed:
        raise ContractBroken(
            f"{asked.id} declares {declared.forward:,} forward passes and makes {made:,}"
        )
    if asked.costs_as_declared and declared.forward > OVERRUN * made + FEW_PASSES:
        raise ContractBroken(
            f"{asked.id} declares {declared.forward:,} forward passes and makes only {made:,}"
        )
    return Kept(True, "", made, declared.forward + shared)


def told(measurement: Measurement) -> tuple[Any, ...]:
    return measurement.answer, [m.model_dump_json() for m in measurement.metrics]


def sound(check_id: str, metric: Metric) -> None:
    """Raise ContractBroken where a metric is no number with an interval around it, or says not why."""
    name = f"{check_id} {metric.name} {metric.slice or ''}".strip()
    if metric.value is None:
        if not metric.reason:
            raise ContractBroken(f"{name} has no value and no reason")
        return
    ends = [e for e in (metric.low, metric.high) if e is not None]
    if not all(math.isfinite(e) for e in (metric.value, *ends)):
        raise ContractBroken(f"{name} is not finite: {metric.value}, {ends}")
    if len(ends) == 2 and not ends[0] - 1e-9 <= metric.value <= ends[1] + 1e-9:
        raise ContractBroken(f"{name} = {metric.value} lies outside its interval {ends}")
    if metric.n is None or metric.n < 0:
        raise ContractBroken(f"{name} says not of how many samples")


def state_of(subject: Subject) -> tuple[Any, ...]:
    """What a check must leave as it is."""
    core = subject.core
    return (
        subject.weights_digest(),
        [m.training for m in core.modules()],
        [p.requires_grad for p in core.parameters()],
        [p.grad is None for p in core.parameters()],
        [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in core.modules()],
        subject.inputs.sum().item(),
        subject.meta.model_dump_json(),
    )


@contextmanager
def counting(core: nn.Module) -> Iterator[list[int]]:
    """The samples of every call of a network, and of the copies that are made of it meanwhile."""
    passes: list[int] = []
    handle = core.register_forward_pre_hook(
        # Who only traces the network asks it nothing.
        lambda _, given: (
            passes.append(len(given[0])) if given and isinstance(given[0], Tensor) else None
        )
    )
    try:
        yield passes
    finally:
        handle.remove()

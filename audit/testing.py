"""The contract that every check keeps with every input kind and every task; for plug-ins too.

    from audit.testing import check_contract, tiny_subject

    outcome = check_contract("robustness.noise", tiny_subject("tabular", "regression"))
    assert outcome.measured

A check measures, or says why it does not apply; it never raises. What it measures has units and
intervals that hold the value, is the same when it is asked again, costs no more passes than it
declared (nor, where it says so, far fewer), and leaves the model as it was. What it says when a bound is
not met reads as sentences. And it does so at the width that people bring:

    from audit.testing import spent, wide_subject

    assert spent("performance.classification", wide_subject("classes")).megabytes < 2048
"""

from __future__ import annotations

import itertools
import math
import multiprocessing
import re
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from audit.checking import Check, Cost, Measurement
from audit.errors import NotApplicable
from audit.evidence import Producer, Store
from audit.judge.findings import fill, words_of
from audit.plan import build_check
from audit.record import Guidance, Metric
from audit.rooms import INPUTS, TASKS, room, rooms
from audit.subject import Subject
from audit.tasks import Task

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
    """Numbers of any shape, or words, → answers of a task."""

    def __init__(self, x: Tensor, task: Task | None, width: int | None = None) -> None:
        super().__init__()
        self.form = (lambda answers: answers) if task is None else task.tiny_answers
        width = width or (1 if task is None else task.tiny_width)
        self.words = None if x.is_floating_point() else nn.Embedding(WORDS, 8)
        inner = x[0].numel() if self.words is None else 8
        self.body = nn.Sequential(
            nn.Flatten(), nn.Linear(inner, 16), nn.ReLU(), nn.Linear(16, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        answers: Tensor = self.body(x if self.words is None else self.words(x).mean(1))
        return self.form(answers)


class TinySeveral(nn.Module):
    """Several inputs, each [n, ...] numbers or words with a mask, → answers of a task."""

    def __init__(self, x: Mapping[str, Tensor], task: Task, width: int | None) -> None:
        super().__init__()
        words = [name for name, v in x.items() if not v.is_floating_point() and name != "mask"]
        self.texts = nn.ModuleDict({name: TinyModel(x[name], None, 8) for name in words})
        numbers = torch.cat(self.numbers(x), 1)
        self.whole = TinyModel(nn.functional.pad(numbers, (0, 8 * len(words))), task, width)

    @property
    def body(self) -> nn.Sequential:
        """The layers that answer."""
        return self.whole.body

    @staticmethod
    def numbers(x: Mapping[str, Tensor]) -> list[Tensor]:
        """Of each input of numbers [n, ...] a row."""
        return [v.flatten(1) for v in x.values() if v.is_floating_point()]

    def forward(self, **x: Tensor) -> Tensor:
        there = x["mask"]
        said = [4 * read(x[name] * there) for name, read in self.texts.items()]
        answers: Tensor = self.whole(torch.cat([*self.numbers(x), *said], 1))
        return answers


def tiny_subject(kind: str, task: str, n: int = N, width: int | None = None) -> Subject:
    """A random network of an input kind and a task, with data that it mostly answers well.

    Args:
        width: numbers that it returns for a sample; as many as the task needs, unless said.
    """
    generator = torch.Generator().manual_seed(0)
    inputs, answers = room(INPUTS, kind), room(TASKS, task)
    x, known = inputs.tiny(2 * n, generator)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        several = isinstance(x, Mapping)
        tiny = TinySeveral if several else TinyModel
        model = (answers.tiny_model(x) or tiny(x, answers, width)).eval()

    def ask() -> Tensor:
        found: Tensor = model(**x) if several else model(x)
        return found

    with torch.no_grad():
        if isinstance(model, TinyModel | TinySeveral):  # answers apart from one another, about zero
            said, last = ask(), model.body[-1]
            assert isinstance(last, nn.Linear)
            last.weight.div_(said.std().clamp_min(1e-6))
            last.bias.sub_(said.mean(0).flatten())
        y = answers.tiny_labels(ask(), generator)
    people = ["a", "b"] * n

    def half(rows: slice) -> Any:
        return {name: v[rows] for name, v in x.items()} if several else x[rows]

    return Subject(
        model,
        half(slice(n)),
        None if y is None else y[:n],
        train=(half(slice(n, None)), None if y is None else y[n:]),
        sensitive={"group": people[:n]},
        task=task,
        inputs=known.pop("inputs", None),
        input={"kind": kind, **known},
        **answers.tiny_meta(inputs, x),
    )


# Width by width: what people bring.
CLASSES, VOCABULARY, COLUMNS, SIDE, GROUPS, STEPS = 1000, 50_000, 10_000, 224, 200, 1024


class Patches(nn.Module):
    """Pictures [n, 3, side, side] or series [n, steps, channels] → [n, width], by a few strides."""

    def __init__(self, x: Tensor, width: int) -> None:
        super().__init__()
        self.planar = x.ndim == 4
        layer = nn.Conv2d if self.planar else nn.Conv1d
        self.body = nn.Sequential(
            layer(x.shape[1 if self.planar else 2], 8, 16, stride=16),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(8 * (x.shape[2] // 16) ** 2 if self.planar else x.shape[1] // 2, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        answers: Tensor = self.body(x if self.planar else x.transpose(1, 2))
        return answers


class Bag(nn.Module):
    """Word numbers [n, words] → [n, width]."""

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, 16)
        self.head = nn.Linear(16, width)

    def forward(self, x: Tensor) -> Tensor:
        answers: Tensor = self.head(self.words(x).mean(1))
        return answers


class Rows(nn.Sequential):
    """[n, columns] → [n, width]."""

    def __init__(self, x: Tensor, width: int) -> None:
        super().__init__(nn.Linear(x.shape[1], 16), nn.ReLU(), nn.Linear(16, width))


def wide_subject(what: str) -> Subject:
    """A small random network whose passes cost little, on data that are wide in one respect.

    Args:
        what: one of `WIDE`: classes, words, columns, pixels, groups, steps.
    """
    generator = torch.Generator().manual_seed(0)
    n, few = 300, 4
    meta: dict[str, Any] = {}
    people: dict[str, list[str]] = {}

    def numbers(*shape: int) -> Tensor:
        return torch.randn(2 * n, *shape, generator=generator)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: nn.Module
        if what == "words":
            x = torch.randint(2, VOCABULARY, (2 * n, 32), generator=generator)
            words = ["<pad>", "<unk>", *(f"word{i}" for i in range(2, VOCABULARY))]
            model, meta = Bag(VOCABULARY, few), {"kind": "tokens", "vocabulary": words}
        elif what == "pixels":
            x = nn.functional.interpolate(numbers(3, 14, 14), (SIDE, SIDE), mode="bilinear")
            x = x.mul_(0.2).add_(0.5).clamp_(0, 1)
            model, meta = Patches(x, few), {"kind": "image", "range": (0, 1)}
        elif what == "steps":
            x = numbers(STEPS, 4).mul_(0.2).add_(0.5).clamp_(0, 1)
            model, meta = Patches(x, few), {"kind": "sequence", "range": (0, 1)}
        else:
            n, few = (300, 2) if what == "columns" else (1000, 2 if what == "groups" else CLASSES)
            x = numbers(COLUMNS if what == "columns" else 16)
            model, meta = Rows(x, few), {"kind": "tabular"}
        if what == "groups":
            people = {"group": [f"group {i % GROUPS}" for i in range(n)]}
        if what == "classes":  # all of them are answered
            model = nn.Linear(x.shape[1], few)
            nn.init.normal_(model.weight)
            x = 0.3 * x + model.weight.detach()[torch.arange(2 * n) % few]
    with torch.no_grad():
        y = model(x).argmax(1)
    wrong = torch.rand(2 * n, generator=generator) < 0.1
    y = torch.where(wrong, (y + 1) % few, y)
    features = [{"name": f"column {i}", "columns": [i]} for i in range(x[0].numel())]
    return Subject(
        model.eval(),
        x[:n],
        y[:n],
        train=(x[n:], y[n:]),
        sensitive=people,
        task="binary" if few == 2 else "multiclass",
        classes=[f"class {i}" for i in range(few)],
        features=features if meta["kind"] == "tabular" else None,
        input=meta,
    )


WIDE = ("classes", "words", "columns", "pixels", "groups", "steps")


@dataclass(frozen=True)
class Spent:
    """What a check took of one subject.

    Attributes:
        told: why it did not apply, or what it raised; empty where it measured.
        megabytes: by which the process grew at its peak; size: bytes of what it wrote.
        passes, declared: as of `Kept`.
        asked: how often it asked for evidence, the model's answers among it: a few times, whatever the
            number of classes, groups or columns.
    """

    told: str
    seconds: float = 0.0
    megabytes: float = 0.0
    passes: int = 0
    declared: int = 0
    size: int = 0
    asked: int = 0


def spent(
    check: str, subject: Subject, profile: str = "quick", seconds: float | None = None
) -> Spent:
    """Ask one check of a subject in a child process, and say what it took.

    Args:
        seconds: after which it is ended.
    """
    return in_child(lambda: measured(build_check(check, profile), subject), seconds)


def measured(check: Check, subject: Subject) -> Spent:
    """Ask a check, and see what it takes."""
    before, began = peak(), time.perf_counter()
    try:
        with counting(subject.core) as passes, noting() as asked:
            check.applies(subject)
            declared = check.cost(subject)
            passes.clear()
            found = check.measure(subject)
    except NotApplicable as reason:
        return Spent(f"does not apply: {reason}")
    except Exception as error:  # noqa: BLE001 - a check may raise anything; it is told
        return Spent(f"raised {type(error).__name__}: {error}")
    size = sum(
        len(part.model_dump_json())
        for parts in (found.metrics, found.tables, found.figures, found.per_unit)
        for part in parts
    )
    return Spent(
        "",
        time.perf_counter() - began,
        peak() - before,
        sum(passes),
        declared.forward + shared_passes(subject),
        size,
        len(asked),
    )


def peak() -> float:
    """Megabytes that this process held at most."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def in_child(ask: Callable[[], Spent], seconds: float | None) -> Spent:
    """Call in a fork of this process, so that its peak is its own, and its end is nobody else's."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(False)
    child = context.Process(target=lambda: there.send(ask()))
    child.start()
    there.close()
    try:
        if not here.poll(seconds):
            child.kill()
            return Spent(f"took longer than {seconds:g} s")
        return here.recv()
    except EOFError:
        child.join()
        return Spent(f"ended with {child.exitcode}")
    finally:
        child.join()


def pairs() -> Iterator[tuple[str, str]]:
    """All (input kind, task) that are installed and go together."""
    for kind, task in itertools.product(sorted(rooms(INPUTS)), sorted(rooms(TASKS))):
        if room(TASKS, task).goes_with(room(INPUTS, kind)):
            yield kind, task


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
        if metric.name in first.guidance:
            readable(asked.id, metric, first.guidance[metric.name])
    if not first.answer.strip() or "{" in first.answer:
        raise ContractBroken(f"{asked.id} answers {first.answer!r}")
    if told(first) != told(again):
        raise ContractBroken(f"{asked.id} measures something else when it is asked again")
    affordable(asked, declared, made, shared_passes(subject))
    return Kept(True, "", made, declared.forward + shared_passes(subject))


def affordable(check: Check, declared: Cost, made: int, shared: int) -> None:
    """Raise ContractBroken where a check takes another number of passes than it declares."""
    most, least = declared.forward + declared.more, declared.forward - declared.fewer
    if made > OVERRUN * (most + shared):
        raise ContractBroken(f"{check.id} declares {most:,} forward passes and makes {made:,}")
    if check.costs_as_declared and least > OVERRUN * made + FEW_PASSES:
        raise ContractBroken(
            f"{check.id} declares at least {least:,} forward passes and makes only {made:,}"
        )


def shared_passes(subject: Subject) -> int:
    """Of the answers that all checks share, which none declares."""
    return 3 * subject.n + subject.training_n


def told(measurement: Measurement) -> tuple[Any, ...]:
    """What must be the same when a check is asked again."""
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


def readable(check_id: str, metric: Metric, guidance: Guidance) -> None:
    """Raise ContractBroken where a finding about a metric would not read as sentences."""
    words = words_of(metric, 0.5, guidance)
    for template in (guidance.title, guidance.what_happened):
        text = fill(template, words)
        if doubled := re.search(r"\b([a-z]+) \1\b", text, re.IGNORECASE):
            raise ContractBroken(f"{check_id} says {doubled[0]!r} of {metric.name}: {text!r}")
        if "{" in text or not text.strip():
            raise ContractBroken(
                f"{check_id} leaves a gap in what it says of {metric.name}: {text!r}"
            )


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
def noting() -> Iterator[list[str]]:
    """The producer of every evidence that is asked for, made already or not."""
    asked: list[str] = []
    get = Store.get

    def noted(store: Store, produce: Producer, *given: Any, **named: Any) -> dict[str, Tensor]:
        asked.append(produce.name)
        return get(store, produce, *given, **named)

    with patch.object(Store, "get", noted):
        yield asked


@contextmanager
def counting(core: nn.Module) -> Iterator[list[int]]:
    """The samples of every call of a network, and of the copies that are made of it meanwhile."""
    passes: list[int] = []

    def count(_: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        first = next(iter((*given, *named.values())), None)
        if isinstance(first, Mapping):
            first = next(iter(first.values()), None)
        if isinstance(first, Tensor):  # who only traces the network asks it nothing
            passes.append(len(first))

    handle = core.register_forward_pre_hook(count, with_kwargs=True)
    try:
        yield passes
    finally:
        handle.remove()

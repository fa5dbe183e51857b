"""What a quick audit costs: passes of 200 samples through the model, forward and backward, by check.

    .venv/bin/python benchmarks/passes.py [NAME ...]

A pass is 200 rows through the network, forward or backward; of evidence that checks share, the first
one pays, and declares it. Certificates follow bounds and not samples: what they declare is about the
multiplications of as many passes. What looks at every row, whatever the profile, is counted apart.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

import audit
from audit.plan import plan
from audit.pricing import cost_of, rows_of
from audit.watching import Tick

ROWS = 200
SUBJECTS = ("digits-cnn", "vowels-gru", "adult-mlp", "snippets-transformer", "resnet18-64px")
EVERY_ROW = (
    "performance",
    "calibration",
    "behaviour.determinism",
    "generalisation",
    "privacy",
    "data",
)


class Block(nn.Module):
    """A residual block of two convolutions."""

    def __init__(self, wide: int, out: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(wide, out, 3, stride, 1, bias=False)
        self.norm = nn.BatchNorm2d(out)
        self.second = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.renorm = nn.BatchNorm2d(out)
        self.short = nn.Sequential()
        if stride != 1 or wide != out:
            self.short = nn.Sequential(
                nn.Conv2d(wide, out, 1, stride, bias=False), nn.BatchNorm2d(out)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = self.renorm(self.second(torch.relu(self.norm(self.first(x)))))
        return torch.relu(y + self.short(x))


class ResNet18(nn.Module):
    """He et al. 2016, with random weights: what it costs does not depend on them much."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        blocks, wide = [], 64
        for out in (64, 128, 256, 512):
            blocks += [Block(wide, out, 1 if out == 64 else 2), Block(out, out, 1)]
            wide = out
        self.stem = nn.Sequential(
            nn.Conv2d(3, 64, 7, 2, 3, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, 1),
        )
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(512, classes)

    def forward(self, x: Tensor) -> Tensor:
        answers: Tensor = self.head(self.blocks(self.stem(x)).mean((2, 3)))
        return answers


def resnet() -> audit.Subject:
    """A ResNet-18 with random weights, at 64 px."""
    torch.manual_seed(0)
    x, model = torch.rand(ROWS, 3, 64, 64), ResNet18().eval()
    with torch.no_grad():
        model.head.bias -= model(x).mean(0)  # so that it answers more than one class
        y = model(x).argmax(1)
    return audit.Subject(model, x, y, input={"kind": "image", "range": (0, 1)})


def subject_of(name: str) -> audit.Subject:
    """A model of the zoo, or the ResNet."""
    return resnet() if name == "resnet18-64px" else audit.load(f"zoo:{name}")


@dataclass
class Rows:
    """Rows that went through a network."""

    forward: int = 0
    backward: int = 0


@contextmanager
def counting(core: nn.Module, now: Callable[[], Rows]) -> Iterator[None]:
    """Count the rows that a network is asked; copies of it that are made meanwhile count too.

    Args:
        now: where they are counted.
    """

    def answered(_module: nn.Module, given: tuple[Any, ...], answers: Any) -> None:
        if not (given and isinstance(given[0], Tensor)):
            return  # who only traces the network asks it nothing
        rows, n = now(), len(given[0])
        rows.forward += n
        if isinstance(answers, Tensor) and answers.requires_grad:

            def back(_gradient: Tensor) -> None:
                rows.backward += n

            answers.register_hook(back)

    handle = core.register_forward_hook(answered)
    try:
        yield
    finally:
        handle.remove()


@dataclass
class Counted(Rows):
    """Of one check: rows through the network, and what it declares."""

    declared: int = 0
    measured: bool = False
    seconds: float = 0.0

    @property
    def passes(self) -> float:
        return (self.forward + self.backward) / ROWS


def counted(subject: audit.Subject, profile: str = "quick") -> dict[str, Counted]:
    """Check → what it costs in an audit."""
    found: defaultdict[str, Counted] = defaultdict(Counted)
    now, since = "", time.perf_counter()

    def watch(tick: Tick) -> None:
        nonlocal now, since
        found[now].seconds += time.perf_counter() - since
        now, since = tick.check, time.perf_counter()

    with counting(subject.core, lambda: found[now]):
        record = audit.run(subject, profile=profile, watch=watch)
    watch(Tick("", 0, 0))
    planned = plan(subject, profile=profile)
    paid = rows_of(planned, [cost_of(item, subject) for item in planned])
    for item, rows in zip(planned, paid, strict=True):
        found[item.check.id].declared = rows
    for check in record.checks:
        found[check.id].measured = bool(check.metrics)
    return {check.id: found[check.id] for check in record.checks}


def every_row(check: str) -> bool:
    """Is it a check that asks every row, and is counted apart?"""
    return check.startswith(EVERY_ROW)


def tell(name: str) -> None:
    """Print the passes of each check."""
    found = counted(subject_of(name))
    searching = {c: f for c, f in found.items() if not every_row(c) and f.forward + f.backward}
    total, rest = (
        sum(f.passes for c, f in found.items() if every_row(c) == apart) for apart in (False, True)
    )
    print(f"\n### {name}: {total:,.0f} passes, and {rest:,.0f} of every row\n")
    print("| check | forward | backward | declared | seconds |\n|---|---|---|---|---|")
    for check, f in sorted(searching.items(), key=lambda item: -item[1].passes):
        numbers = (f.forward / ROWS, f.backward / ROWS, f.declared / ROWS)
        print(
            f"| {check} | {' | '.join(f'{n:,.1f}' for n in numbers)} | {f.seconds:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    for chosen in sys.argv[1:] or SUBJECTS:
        tell(chosen)

"""What a quick audit costs: passes of 200 samples through the model, forward and backward, by check.

    .venv/bin/python benchmarks/passes.py [NAME ...]

A pass is 200 rows through the network, forward or backward; of evidence that checks share, the first
one pays. Certificates follow bounds and not samples: their multiplications are counted, in those of
a forward pass. What looks at every row, whatever the profile, is counted apart.
"""

from __future__ import annotations

import time
from collections import Counter

import torch
from torch import Tensor, nn

import audit

ROWS = 200
EVERY_ROW = ("performance", "calibration", "behaviour.determinism", "generalisation", "privacy")


class Block(nn.Module):
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
    torch.manual_seed(0)
    x, model = torch.rand(ROWS, 3, 64, 64), ResNet18().eval()
    with torch.no_grad():
        model.head.bias -= model(x).mean(0)  # so that it answers more than one class
        y = model(x).argmax(1)
    return audit.Subject(model, x, y, input={"kind": "image", "range": (0, 1)})


def subject_of(name: str) -> audit.Subject:
    return resnet() if name == "resnet18-64px" else audit.load(f"zoo:{name}")


def counted(subject: audit.Subject, profile: str = "quick") -> dict[str, dict[str, float]]:
    """check → rows forward and backward, as declared, and the multiplications beyond those rows."""
    forward: Counter[str] = Counter()
    backward: Counter[str] = Counter()
    seconds: Counter[str] = Counter()
    now = ["plan", time.perf_counter()]

    def watch(tick: audit.watching.Tick) -> None:
        seconds[str(now[0])] += time.perf_counter() - float(now[1])
        now[:] = [tick.check, time.perf_counter()]

    def answered(module: nn.Module, given: tuple[Tensor, ...], answers: Tensor) -> None:
        if not (given and isinstance(given[0], Tensor)):
            return  # who only traces the network asks it nothing
        n = len(given[0])
        forward[str(now[0])] += n
        if isinstance(answers, Tensor) and answers.requires_grad:
            answers.register_hook(lambda _: backward.update({str(now[0]): n}))

    handle = subject.core.register_forward_hook(answered)
    record = audit.run(subject, profile=profile, watch=watch)
    watch(audit.watching.Tick("end", 0, 0))
    handle.remove()
    return {
        c.id: {
            "forward": forward[c.id],
            "backward": backward[c.id],
            "declared forward": c.cost.get("forward", 0),
            "declared backward": c.cost.get("backward", 0),
            "seconds": seconds[c.id],
        }
        for c in record.checks
    }

"""How do sound models fare with the shipped defaults?

Forty small models of five kinds, eight seeds each, that their makers would call sound: tables by a
perceptron, pictures by a convolutional network, series by a GRU, text by a bag of embeddings, values
by a perceptron. Their data are made here, and none of the reference models'. Each is audited in
`quick` with range and eps given; printed are the exit code and, where it is not 0, the reasons. None
may fail; at least 32 should pass.

    python benchmarks/clean.py [tables|pictures|series|text|values]... [--seeds 8] [--training]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

import audit

TRAINING, EVALUATION = 1500, 800
Made = tuple[NDArray[Any], NDArray[Any], Callable[[], nn.Module], dict[str, Any]]
WORDS = 300


class Series(nn.Module):
    """[n, steps, channels] → scores of the last state [n, classes]."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.gru = nn.GRU(channels, 24, batch_first=True)
        self.head = nn.Linear(24, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.gru(x)[0][:, -1])


class Bag(nn.Module):
    """[n, words] word numbers, 0 where a text has ended → scores [n, classes]."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.words = nn.EmbeddingBag(WORDS, 16, padding_idx=0)
        self.head = nn.Linear(16, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.words(x))


def perceptron(inputs: int, outputs: int, width: int = 32) -> nn.Module:
    """Two hidden layers: what most tables are given to."""
    return nn.Sequential(
        nn.Linear(inputs, width),
        nn.ReLU(),
        nn.Linear(width, width),
        nn.ReLU(),
        nn.Linear(width, outputs),
    )


def tables(rng: np.random.Generator, n: int, seed: int) -> Made:
    """Classes by a noisy rule of eight numeric columns."""
    classes = 2 + seed % 3
    x = rng.normal(size=(n, 8))
    scores = x @ rng.normal(size=(8, classes)) + 0.5 * np.tanh(x[:, :1] * x[:, 1:2])
    y = (scores + 0.4 * rng.normal(size=scores.shape)).argmax(1)
    task = "binary" if classes == 2 else "multiclass"
    return (
        x,
        y,
        lambda: perceptron(8, classes),
        {
            "task": task,
            "output": "logits",
            "input": {"kind": "tabular", "range": (-6, 6), "eps": 0.05},
        },
    )


def pictures(rng: np.random.Generator, n: int, seed: int) -> Made:
    """Stripes of 12 x 12 pixels; the class is their direction."""
    classes = 2 + seed % 4
    y = rng.integers(0, classes, n)
    across, down = np.meshgrid(np.arange(12), np.arange(12))
    angle = (np.pi * y / classes + rng.normal(0, 0.08, n))[:, None, None]
    wave = across * np.cos(angle) + down * np.sin(angle)
    x = 0.5 + 0.3 * np.sin(
        rng.uniform(1, 1.6, n)[:, None, None] * wave + rng.uniform(0, 6, (n, 1, 1))
    )
    x = np.clip(x + rng.normal(0, 0.1, x.shape), 0, 1)[:, None]
    return (
        x,
        y,
        lambda: nn.Sequential(
            nn.Conv2d(1, 12, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(12, 16, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(3),
            nn.Flatten(),
            nn.Linear(144, classes),
        ),
        {
            "task": "binary" if classes == 2 else "multiclass",
            "output": "logits",
            "input": {"kind": "image", "range": (0, 1), "eps": 2 / 255},
        },
    )


def series(rng: np.random.Generator, n: int, seed: int) -> Made:
    """Two channels over 24 steps; the class is how fast they swing."""
    classes = 2 + seed % 3
    y = rng.integers(0, classes, n)
    speed = (0.4 + 0.5 * y + rng.normal(0, 0.06, n))[:, None]
    phase = rng.uniform(0, 6.3, (n, 1)) + speed * np.arange(24)
    x = np.stack([np.sin(phase), np.cos(phase)], 2) + rng.normal(0, 0.2, (n, 24, 2))
    return (
        np.clip(x, -2, 2),
        y,
        lambda: Series(2, classes),
        {
            "task": "binary" if classes == 2 else "multiclass",
            "output": "logits",
            "input": {"kind": "sequence", "range": (-2, 2), "eps": 0.02},
        },
    )


def text(rng: np.random.Generator, n: int, seed: int) -> Made:
    """Twenty of 300 words; each class prefers its own."""
    classes = 2 + seed % 2
    y = rng.integers(0, classes, n)
    likely = rng.dirichlet(np.full(WORDS - 1, 0.5), classes) * 0.5 + 0.5 / (WORDS - 1)
    x = np.stack([rng.choice(WORDS - 1, 20, p=likely[label]) + 1 for label in y])
    x[np.arange(20) >= rng.integers(14, 21, (n, 1))] = 0
    return (
        x,
        y,
        lambda: Bag(classes),
        {
            "task": "binary" if classes == 2 else "multiclass",
            "output": "logits",
            "input": {"kind": "tokens", "vocabulary": ["", *(f"word{i}" for i in range(1, WORDS))]},
        },
    )


def values(rng: np.random.Generator, n: int, seed: int) -> Made:
    """A smooth function of six numeric columns, with noise."""
    x = rng.normal(size=(n, 6))
    rule = np.random.default_rng(seed).normal(size=6)
    y = 20 + 5 * (x @ rule) + 4 * np.sin(2 * x[:, 0]) + rng.normal(0, 1.5, n)
    return (
        x,
        y.astype(np.float32),
        lambda: perceptron(6, 1),
        {
            "task": "regression",
            "input": {"kind": "tabular", "range": (-6, 6), "eps": 0.05},
        },
    )


KINDS = {f.__name__: f for f in (tables, pictures, series, text, values)}


def fit(build: Callable[[], nn.Module], x: Tensor, y: Tensor, seed: int, task: str) -> nn.Module:
    """AdamW with weight decay; a tenth of the training samples says when to stop."""
    torch.manual_seed(seed)
    model = build()
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=1e-2)
    centre, spread = (y.mean(), y.std()) if task == "regression" else (0.0, 1.0)
    kept, best, left = len(x) // 10, np.inf, model.state_dict()

    def loss(rows: Any) -> Tensor:
        out = model(x[rows])
        if task == "regression":
            return F.mse_loss(out[:, 0], (y[rows] - centre) / spread)
        return F.cross_entropy(out, y[rows])

    for _ in range(40):
        for rows in (torch.randperm(len(x) - kept) + kept).split(64):
            optimiser.zero_grad()
            loss(rows).backward()
            optimiser.step()
        with torch.no_grad():
            held = float(loss(slice(0, kept)))
        if held < best:
            best, left = held, {k: v.clone() for k, v in model.state_dict().items()}
    model.load_state_dict(left)
    if task == "regression":
        last = [m for m in model.modules() if isinstance(m, nn.Linear)][-1]
        with torch.no_grad():
            last.weight.mul_(spread)
            last.bias.mul_(spread).add_(centre)
    return model.eval()


def made(kind: str, seed: int, training: bool) -> audit.Subject:
    """A model trained on data without a fault, audited on fresh samples of the same kind."""
    x, y, build, known = KINDS[kind](np.random.default_rng(seed), TRAINING + EVALUATION, seed)
    x = x.astype(np.int64 if kind == "text" else np.float32)
    cut = TRAINING
    model = fit(build, torch.as_tensor(x[:cut]), torch.as_tensor(y[:cut]), seed, known["task"])
    train = (x[:cut], y[:cut]) if training else None
    return audit.Subject(model, x[cut:], y[cut:], train=train, name=f"{kind}-{seed}", **known)


def reasons(record: audit.AuditRecord) -> Iterator[str]:
    """What keeps an audit from passing: the verdict's own words, and what failed at any severity."""
    yield record.verdict.reason
    for finding in record.findings:
        yield f"  {finding.severity} {finding.check}: {finding.what_happened}"


def main() -> None:
    """Audit clean models of every kind and count what is flagged."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", nargs="*", choices=[[], *KINDS], help="default: all")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--training", action="store_true", help="give the training data too")
    options = parser.parse_args()
    codes: Counter[int] = Counter()
    for kind in options.kind or KINDS:
        for seed in range(options.seeds):
            subject, began = made(kind, seed, options.training), time.perf_counter()
            record = audit.run(subject, profile="quick", examples=False)
            codes[record.verdict.exit_code] += 1
            print(
                f"{kind} {seed}: exit {record.verdict.exit_code}, {time.perf_counter() - began:.0f} s"
            )
            if record.verdict.exit_code:
                print("\n".join(f"    {line}" for line in reasons(record)), flush=True)
    told = ", ".join(f"{n} ended in {code}" for code, n in sorted(codes.items()))
    print(f"Of {codes.total()} sound models {told}.")


if __name__ == "__main__":
    main()

"""The cascade of attacks beside AutoAttack (ART's): who breaks more, and at what cost?

    pip install multiprocess        # which ART's AutoAttack imports
    python benchmarks/robustness.py [--samples 100] [--rounds 5]

Both attack the same samples in turn in one run, medians over the rounds; seconds are of the attack
alone. The cascade runs with the steps and queries that AutoAttack has: 100 steps a gradient attack,
5,000 queries of the search. AutoAttack needs minutes: half an hour in all, less with fewer rounds.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from speed import interleaved, table
from torch import nn

import audit
from audit.checking import Context
from audit.checks.robustness.evasion import unattacked

SETTINGS = (("mnist-cnn", 0.1), ("mnist-cnn-robust", 0.2))


def compare(name: str, eps: float, samples: int, rounds: int) -> list[tuple[str, ...]]:
    from art.attacks.evasion import AutoAttack
    from art.estimators.classification import PyTorchClassifier

    subject = audit.load(f"zoo:{name}")
    chosen = Context.of(subject).samples(samples)
    x, y = subject.x[chosen].numpy(), subject.y[chosen].numpy()
    classifier = PyTorchClassifier(
        subject.model, nn.CrossEntropyLoss(), tuple(x.shape[1:]), 10, clip_values=(0.0, 1.0),
        device_type="cpu",
    )  # fmt: skip
    left: dict[str, float] = {}

    def autoattack() -> None:
        attack = AutoAttack(classifier, eps=eps, eps_step=2 * eps, batch_size=128)
        answers = classifier.predict(attack.generate(x, np.eye(10, dtype=np.float32)[y]))
        left["AutoAttack (ART)"] = float((answers.argmax(1) == y).mean())

    def cascade(**parameters: int) -> None:
        context = Context.of(subject)
        check = audit.check("robustness.worst_case", eps=eps, samples=samples, **parameters)
        found = check.attack(context, chosen, eps, ["broken"])  # type: ignore[attr-defined]
        right = unattacked(context, chosen) & ~found["broken"].numpy()
        left["cascade" if "steps" in parameters else "cascade, standard"] = float(right.mean())

    seconds = interleaved({
        "cascade, standard": cascade,
        "cascade": lambda: cascade(steps=100, targets=9, queries=5000),
        "AutoAttack (ART)": autoattack,
    }, rounds)  # fmt: skip
    return [
        (name, f"{eps:g}", who, f"{left[who]:.3f}", f"{took:.1f}",
         f"{took / seconds['cascade']:.2f}")
        for who, took in seconds.items()
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(2)
    rows = [
        row for name, eps in SETTINGS for row in compare(name, eps, options.samples, options.rounds)
    ]
    table(
        f"Robust accuracy of {options.samples} samples, and what it costs", rows,
        ("model", "eps", "who", "robust accuracy", "seconds", "ratio to the cascade"),
    )  # fmt: skip


if __name__ == "__main__":
    main()

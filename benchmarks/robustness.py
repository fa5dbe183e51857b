"""Attacks beside those of ART and foolbox, and the cascade beside AutoAttack: who breaks more, at what cost?

    pip install foolbox multiprocess        # multiprocess is what ART's AutoAttack imports
    pip install git+https://github.com/fra31/auto-attack    # the reference, for `others`
    python benchmarks/robustness.py [gradient] [minimum] [square] [proof] [cascade] [others]
        [scale] [--samples 256] [--cascade-samples 100] [--rounds 5] [--threads 2]

All contenders attack the same samples in turn in one run, medians over the rounds. The limit of a
gradient attack is its steps times one forward and one backward pass to the input of all samples at the
best batch size. AutoAttack needs minutes a round. `others` counts passes too and keeps what it measured:
a run that was killed goes on where it was.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from others import MODELS, other
from passes import Rows, counting
from speed import Cnn, best_batch, interleaved, passes, table
from torch import Tensor, nn

import audit
from audit.checking import Context
from audit.evidence import Batch, Store
from audit.methods.certificates.linear import EFFORT
from audit.producers.attacks import apgd, pgd, smallest_l2, square
from audit.producers.certificates import certified_eps

EPS = {"mnist-cnn": 0.1, "mnist-cnn-robust": 0.2}  # where something falls and something stands
PROVEN = ("mnist-cnn", "mnist-cnn-robust", "digits-cnn", "digits-resnet")
STEPS, QUERIES, BATCH = 20, 500, 128
KEPT = Path(__file__).parent / "others.jsonl"


def art_classifier(subject: audit.Subject, shape: tuple[int, ...], *, frozen: bool = True) -> Any:
    """The subject's model as the toolbox takes it."""
    from art.estimators.classification import PyTorchClassifier

    for parameter in subject.network.model.parameters():
        parameter.requires_grad_(not frozen)
    low, high = subject.range or (float(subject.inputs.min()), float(subject.inputs.max()))
    return PyTorchClassifier(
        subject.network.model,
        nn.CrossEntropyLoss(),
        shape,
        len(subject.classes),
        clip_values=(low, high),
        device_type="cpu",
    )


def standing(subject: audit.Subject, adversarial: Any, y: Tensor) -> float:
    """The share of adversarial inputs that are answered right."""
    with torch.no_grad():
        answers = subject.logits(torch.as_tensor(np.asarray(adversarial), dtype=torch.float32))
    return float((answers.argmax(1) == y).float().mean())


def mlp_subject(n: int) -> audit.Subject:
    """Rows of 40 values in [0, 1], read as series of one moment so that a range holds for all."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(40, 64), nn.ReLU(), nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10)
    )
    x = torch.rand(n, 1, 40)
    with torch.no_grad():
        y = model(x).argmax(1)
    return audit.Subject(
        model,
        x,
        y,
        classes=[str(i) for i in range(10)],
        task="multiclass",
        input={"range": (0, 1)},
        batch_size=1024,
    )


def cnn_subject(n: int) -> audit.Subject:
    """An untrained network of a given size, on as many random pictures."""
    torch.manual_seed(0)
    model, x = Cnn().eval(), torch.rand(n, 1, 28, 28)
    with torch.no_grad():
        y = model(x).argmax(1)
    return audit.Subject(
        model,
        x,
        y,
        classes=[str(i) for i in range(10)],
        task="multiclass",
        input={"range": (0, 1)},
        batch_size=BATCH,
    )


Row = tuple[str, ...]


def gradient(name: str, subject: audit.Subject, eps: float, samples: int, rounds: int) -> list[Row]:
    """PGD and Auto-PGD beside the passes that they need."""
    from art.attacks.evasion import AutoProjectedGradientDescent, ProjectedGradientDescentPyTorch
    from foolbox import PyTorchModel
    from foolbox.attacks import LinfProjectedGradientDescentAttack

    n = np.arange(min(subject.n, samples))
    x, y = subject.inputs[n], subject.labels[n]
    one_hot = np.eye(len(subject.classes), dtype=np.float32)[y.numpy()]
    left: dict[str, float] = {}
    size = best_batch(
        lambda s: passes(subject.network.model, x, y, s, 2),
        (64, 128, 256) if x.ndim == 4 else (256, 1024, 4096),
    )
    subject = subject.with_samples(replace(subject.samples, batch_size=size))

    def ours(who: str, produce: Any, **given: Any) -> None:
        broken = 0.0
        for at in np.split(n, range(size, len(n), size)):
            batch = Batch(subject, x[at], y[at], at.astype(np.uint64))
            broken += float(produce(batch, eps=eps, steps=STEPS, **given)["broken"].sum())
        left[who] = 1 - broken / len(n)

    def art(who: str, cls: Any, batch: int, *, frozen: bool = True, **given: Any) -> None:
        attack = cls(
            art_classifier(subject, tuple(x.shape[1:]), frozen=frozen),
            eps=eps,
            max_iter=STEPS,
            batch_size=batch,
            verbose=False,
            **given,
        )
        made = attack.generate(x.numpy(), one_hot)
        subject.network.model.requires_grad_(False)
        left[who] = standing(subject, made, y)

    def art_pgd(who: str, batch: int, *, frozen: bool) -> None:
        art(
            who,
            ProjectedGradientDescentPyTorch,
            batch,
            frozen=frozen,
            eps_step=2.5 * eps / STEPS,
            num_random_init=1,
        )

    def art_apgd(who: str, loss: str) -> None:
        art(
            who,
            AutoProjectedGradientDescent,
            size,
            eps_step=2 * eps,
            nb_random_init=1,
            loss_type=loss,
        )

    def foolbox(who: str) -> None:
        model = PyTorchModel(subject.network.model, bounds=subject.range, device="cpu")
        attack = LinfProjectedGradientDescentAttack(rel_stepsize=2.5 / STEPS, steps=STEPS)
        made = [
            attack(model, a, b, epsilons=eps)[1]
            for a, b in zip(x.split(size), y.split(size), strict=True)
        ]
        left[who] = standing(subject, torch.cat(made), y)

    times = interleaved(
        {
            "limit": lambda: passes(subject.network.model, x, y, size, STEPS),
            "PGD": lambda: ours("PGD", pgd),
            "PGD, ART tuned": lambda: art_pgd("PGD, ART tuned", size, frozen=True),
            "PGD, ART defaults": lambda: art_pgd("PGD, ART defaults", 32, frozen=False),
            "PGD, foolbox": lambda: foolbox("PGD, foolbox"),
            "APGD-CE": lambda: ours("APGD-CE", apgd, loss="ce"),
            "APGD-CE, ART tuned": lambda: art_apgd("APGD-CE, ART tuned", "cross_entropy"),
            "APGD-DLR": lambda: ours("APGD-DLR", apgd, loss="dlr"),
            "APGD-DLR, ART tuned": lambda: art_apgd(
                "APGD-DLR, ART tuned", "difference_logits_ratio"
            ),
        },
        rounds,
    )
    return [
        (
            name,
            who,
            f"{left[who]:.3f}" if who in left else "",
            f"{seconds:.2f}",
            f"{seconds / times['limit']:.2f}",
        )
        for who, seconds in times.items()
    ]


def minimum(name: str, samples: int, rounds: int) -> list[Row]:
    """The smallest L2 change."""
    from art.attacks.evasion import DeepFool
    from foolbox import PyTorchModel
    from foolbox.attacks import L2DeepFoolAttack

    subject = audit.load(f"zoo:{name}")
    n = Context.of(subject).samples(samples)
    x, y = subject.inputs[n], subject.labels[n]
    with torch.no_grad():
        right = subject.logits(x).argmax(1) == y
    medians: dict[str, float] = {}

    def keep(who: str, made: Any) -> None:
        adversarial = torch.as_tensor(np.asarray(made), dtype=torch.float32)
        with torch.no_grad():
            wrong = subject.logits(adversarial).argmax(1) != y
        length = (adversarial - x).flatten(1).norm(dim=1)
        medians[who] = float(torch.where(wrong, length, torch.inf)[right].median())

    def ours(who: str, **given: int) -> None:
        keep(
            who,
            Context.of(subject).evidence(smallest_l2, n, ["x"], steps=50, nearest=3, **given)["x"],
        )

    def art(who: str) -> None:
        classifier = art_classifier(subject, tuple(x.shape[1:]))
        keep(who, DeepFool(classifier, batch_size=BATCH, verbose=False).generate(x.numpy()))

    def foolbox(who: str) -> None:
        model, attack = (
            PyTorchModel(subject.network.model, bounds=subject.range, device="cpu"),
            L2DeepFoolAttack(),
        )
        made = [
            attack.run(model, a, b) for a, b in zip(x.split(BATCH), y.split(BATCH), strict=True)
        ]
        keep(who, torch.cat(made))

    both = "DeepFool, then Carlini–Wagner"
    times = interleaved(
        {
            "DeepFool": lambda: ours("DeepFool"),
            both: lambda: ours(both, rounds=2, refining=30),
            "DeepFool, ART": lambda: art("DeepFool, ART"),
            "DeepFool, foolbox": lambda: foolbox("DeepFool, foolbox"),
        },
        rounds,
    )
    return [
        (name, who, f"{medians[who]:.3f}", f"{seconds:.2f}", f"{seconds / times[both]:.2f}")
        for who, seconds in times.items()
    ]


def squares(name: str, samples: int, rounds: int) -> list[Row]:
    """Square with as many queries."""
    from art.attacks.evasion import SquareAttack

    subject, eps = audit.load(f"zoo:{name}"), EPS[name]
    n = Context.of(subject).samples(samples)
    x, y = subject.inputs[n], subject.labels[n]
    left: dict[str, float] = {}

    def ours() -> None:
        found = Context.of(subject).evidence(square, n, ["broken"], eps=eps, queries=QUERIES)
        left["Square"] = 1 - float(found["broken"].float().mean())

    def art() -> None:
        attack = SquareAttack(
            art_classifier(subject, tuple(x.shape[1:])),
            eps=eps,
            max_iter=QUERIES,
            batch_size=BATCH,
            verbose=False,
        )
        made = attack.generate(x.numpy(), np.eye(10, dtype=np.float32)[y.numpy()])
        left["Square, ART"] = standing(subject, made, y)

    times = interleaved({"Square": ours, "Square, ART": art}, rounds)
    return [
        (name, who, f"{left[who]:.3f}", f"{seconds:.2f}", f"{seconds / times['Square']:.2f}")
        for who, seconds in times.items()
    ]


def proof(name: str, samples: int, rounds: int) -> list[Row]:
    """What is proven at the subject's own eps, by intervals alone and with hidden layers bounded too."""
    subject = audit.load(f"zoo:{name}")
    eps = audit.check("robustness.worst_case").size(subject)  # type: ignore[attr-defined]
    n = Context.of(subject).samples(samples)
    found: dict[str, NDArray[np.float64]] = {}

    def prove(who: str, effort: float) -> None:
        made = Context.of(subject).evidence(
            certified_eps, n, highest=4 * eps, per_octave=4, at=eps, effort=effort
        )
        found[who] = made["eps"].double().numpy()

    within, plain = "linear bounds of hidden layers", "intervals of hidden layers"
    times = interleaved(
        {within: lambda: prove(within, EFFORT), plain: lambda: prove(plain, 0)}, rounds
    )
    return [
        (
            name,
            f"{eps:.3g}",
            who,
            f"{(found[who] >= eps).mean():.2f}",
            f"{np.median(found[who]):.3g}",
            f"{1000 * seconds / len(n):.0f}",
        )
        for who, seconds in times.items()
    ]


def cascade(name: str, subject: audit.Subject, eps: float, samples: int, rounds: int) -> list[Row]:
    """The cascade, as standard and with AutoAttack's steps and queries, beside AutoAttack."""
    from art.attacks.evasion import AutoAttack

    n = Context.of(subject).samples(samples)
    x, y = subject.inputs[n], subject.labels[n]
    left: dict[str, float] = {}

    def autoattack(who: str) -> None:
        classifier = art_classifier(subject, tuple(x.shape[1:]))
        attack = AutoAttack(classifier, eps=eps, eps_step=2 * eps, batch_size=BATCH)
        left[who] = standing(
            subject, attack.generate(x.numpy(), np.eye(10, dtype=np.float32)[y.numpy()]), y
        )

    def ours(who: str, **given: int) -> None:
        check = audit.check("robustness.worst_case", eps=eps, samples=samples, **given)
        left[who] = float(check.outcome(Context.of(subject), eps).robust.value)  # type: ignore[attr-defined]

    full, theirs = "cascade, 100 steps, 9 targets, 5,000 queries", "AutoAttack (ART)"
    standard = "cascade, standard"
    contenders = {
        standard: lambda: ours(standard),
        full: lambda: ours(full, steps=100, targets=9, queries=5000),
        theirs: lambda: autoattack(theirs),
    }
    times = interleaved(contenders, rounds, warm_up=False)
    return [
        (
            name,
            f"{eps:g}",
            who,
            f"{left[who]:.3f}",
            f"{seconds:.1f}",
            f"{seconds / times[standard]:.2f}",
        )
        for who, seconds in times.items()
    ]


def beside_autoattack(name: str, samples: int) -> list[Row]:
    """The standard cascade beside the reference AutoAttack on a network that nobody tuned for."""
    from autoattack import AutoAttack

    subject, eps = other(name, samples)
    n = Context.of(subject).samples(samples)
    x, y = subject.inputs[n], subject.labels[n]

    def ours() -> NDArray[np.bool_]:
        check = audit.check("robustness.worst_case", eps=eps, samples=samples)
        return check.outcome(Context.of(subject), eps).standing  # type: ignore[attr-defined,no-any-return]

    def reference() -> NDArray[np.bool_]:
        attack = AutoAttack(subject.network.model, eps=eps, seed=0, device="cpu", verbose=False)
        adversarial = attack.run_standard_evaluation(x, y, bs=len(x))
        with torch.no_grad():
            return (subject.logits(adversarial).argmax(1) == y).numpy()

    contenders = {"cascade, standard": ours, "AutoAttack, reference": reference}
    done = [json.loads(line) for line in KEPT.read_text().splitlines()] if KEPT.exists() else []
    rows, first = [], 0.0
    for who, attack in contenders.items():
        key = {"name": name, "who": who, "samples": samples}
        found = next((r for r in done if key.items() <= r.items()), None)
        if not found:
            spent, began = Rows(), time.process_time()
            with counting(subject.core, lambda to=spent: to):  # type: ignore[misc]
                left = attack()
            found = {
                **key,
                "eps": eps,
                "left": np.flatnonzero(left).tolist(),
                "passes": (spent.forward + spent.backward) / len(n),
                "seconds": time.process_time() - began,
            }
            with open(KEPT, "a") as file:
                file.write(json.dumps(found) + "\n")
        passes_ = found["passes"]
        first = first or passes_
        rows.append(
            (
                name,
                f"{found['eps']:g}",
                who,
                f"{len(found['left'])} of {len(n)}",
                f"{passes_:,.0f}",
                f"{passes_ / first:.1f}",
                f"{found['seconds']:.0f}",
            )
        )
        print(" | ".join(rows[-1]), flush=True)
    return rows


def scale() -> None:
    """Seconds and memory of the standard cascade on more samples, each in a process of its own."""
    rows = []
    for n in (1000, 10000):
        done = subprocess.run(
            [sys.executable, __file__, "--one-scale", str(n)],
            capture_output=True,
            text=True,
            check=True,
        )
        seconds, megabytes = done.stdout.split()
        rows.append((f"{n:,}", seconds, f"{1000 * float(seconds) / n:.1f}", megabytes))
    table(
        "The standard cascade on a CNN, 28x28 images",
        rows,
        ("samples", "seconds", "ms a sample", "peak MB"),
    )


def one_scale(n: int) -> None:
    """The whole cascade on many samples of one model, with its time."""
    subject = audit.load("zoo:mnist-cnn-robust")
    generator = torch.Generator().manual_seed(0)
    at = torch.arange(n) % subject.n
    x = (subject.inputs[at] + 0.02 * torch.rand(n, 1, 28, 28, generator=generator)).clamp(0, 1)
    many = audit.Subject(subject.core, x, subject.labels[at], meta=subject.meta)
    check = audit.check("robustness.worst_case", samples=n)
    with tempfile.TemporaryDirectory() as folder:  # evidence lies on disk, as in an audit
        began = time.perf_counter()
        check.outcome(Context(many, Store(many, folder=Path(folder))), 0.2)  # type: ignore[attr-defined]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{time.perf_counter() - began:.1f} {peak:.0f}")


def main() -> None:
    """Run the parts that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parts = ("gradient", "minimum", "square", "proof", "cascade", "others", "scale")
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(parts))
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--cascade-samples", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--one-scale", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(options.threads)
    if options.one_scale:
        one_scale(options.one_scale)
        return
    chosen = options.parts or parts
    samples, rounds = options.samples, options.rounds
    if "gradient" in chosen:
        table(
            f"{STEPS} steps: ratio to {STEPS} forward and backward passes of all samples",
            gradient("mnist-cnn", audit.load("zoo:mnist-cnn"), 0.1, samples, rounds)
            + gradient("CNN of 64 channels", cnn_subject(samples), 0.002, samples, rounds)
            + gradient("MLP", mlp_subject(16 * samples), 0.02, 16 * samples, rounds),
            ("model", "who", "left right", "seconds", "ratio to the limit"),
        )
    if "minimum" in chosen:
        table(
            f"Smallest L2 change of {samples} samples",
            [row for name in EPS for row in minimum(name, samples, rounds)],
            ("model", "who", "median length", "seconds", "ratio to DeepFool and Carlini–Wagner"),
        )
    if "square" in chosen:
        table(
            f"Square, {QUERIES} queries, {samples} samples",
            [row for name in EPS for row in squares(name, samples, rounds)],
            ("model", "who", "left right", "seconds", "ratio to ours"),
        )
    if "proof" in chosen:
        table(
            "Proven of 50 samples under Linf",
            [row for name in PROVEN for row in proof(name, 50, rounds)],
            ("model", "eps", "by", "share proven at eps", "median proven eps", "ms a sample"),
        )
    if "cascade" in chosen:
        table(
            f"Robust accuracy of {options.cascade_samples} samples: the cascade, its evidence of "
            "fairness included, and AutoAttack",
            [
                row
                for name, eps in EPS.items()
                for row in cascade(
                    name, audit.load(f"zoo:{name}"), eps, options.cascade_samples, rounds
                )
            ],
            ("model", "eps", "who", "robust accuracy", "seconds", "ratio to the standard cascade"),
        )
    if "others" in chosen:
        table(
            f"Right of {options.cascade_samples} samples of networks that nobody tuned for",
            [row for name in MODELS for row in beside_autoattack(name, options.cascade_samples)],
            ("model", "eps", "who", "left right", "passes", "ratio to the cascade", "CPU seconds"),
        )
    if "scale" in chosen:
        scale()


if __name__ == "__main__":
    main()

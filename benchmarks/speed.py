"""Ratios to the limit and to the libraries at their defaults, measured side by side in one run.

python benchmarks/speed.py [attacks] [attributions] [audit] [memory]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import contextlib
import io
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import audit
from audit.evidence import Batch
from audit.methods.attacks.ascent import ascent
from audit.producers import attributions
from audit.producers.budgets import budget

ROUNDS = 5
STEPS = 10


def interleaved(
    contenders: dict[str, Callable[[], object]], rounds: int = ROUNDS, *, warm_up: bool = True
) -> dict[str, float]:
    """Median seconds of each, taken in turn, after one warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(0 if warm_up else 1, rounds + 1):
        for name, work in contenders.items():
            began = time.perf_counter()
            with (
                contextlib.redirect_stdout(io.StringIO()),
                contextlib.redirect_stderr(io.StringIO()),
            ):
                work()
            if turn:
                seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in seconds.items()}


def table(title: str, rows: list[tuple[str, ...]], head: tuple[str, ...]) -> None:
    """Print a table in Markdown."""
    print(f"\n### {title}\n")
    for row in (head, tuple("---" for _ in head), *rows):
        print(f"| {' | '.join(row)} |")
    sys.stdout.flush()


class Cnn(nn.Module):
    """A CNN on 28x28 images: 3 convolutions, 64 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(64, 64, 3, padding=1),
            nn.ReLU(),
        )
        self.head = nn.Linear(64 * 49, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x).flatten(1))


def passes(model: nn.Module, x: torch.Tensor, y: torch.Tensor, size: int, steps: int) -> None:
    """`steps` forward and backward passes to the input, nothing else."""
    for batch, labels in zip(x.split(size), y.split(size), strict=True):
        for _ in range(steps):
            point = batch.detach().requires_grad_(True)
            loss = F.cross_entropy(model(point), labels, reduction="sum")
            torch.autograd.grad(loss, point)


def best_batch(work: Callable[[int], None], sizes: tuple[int, ...]) -> int:
    """The batch size at which the work is done fastest."""
    times = interleaved({str(s): lambda s=s: work(s) for s in sizes}, 3)
    return int(min(times, key=times.__getitem__))


def attacks() -> None:
    """(a) PGD-10 as a ratio to its limit, beside ART at its defaults and tuned."""
    from art.attacks.evasion import ProjectedGradientDescentPyTorch
    from art.estimators.classification import PyTorchClassifier

    torch.manual_seed(0)
    mlp = nn.Sequential(
        nn.Linear(40, 64), nn.ReLU(), nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10)
    )
    rows = []
    for name, model, shape, n in (("CNN", Cnn(), (1, 28, 28), 512), ("MLP", mlp, (40,), 4096)):
        x, y = torch.rand(n, *shape), torch.randint(0, 10, (n,))
        plain = model.eval()
        for parameter in plain.parameters():
            parameter.requires_grad_(False)
        sizes = (64, 128, 256, 512) if name == "CNN" else (256, 1024, 4096)
        best = best_batch(lambda s, m=plain, x=x, y=y: passes(m, x, y, s, 2), sizes)
        subject = (
            audit.Subject(plain, x, y, input={"range": (0, 1)}, batch_size=best)
            if (name == "CNN")
            else audit.Subject(plain, x, y, batch_size=best)
        )
        allowed = budget(subject, 0.03)

        def ours(subject=subject, x=x, y=y, best=best, allowed=allowed) -> None:
            for a, b in zip(x.split(best), y.split(best), strict=True):
                ascent(subject.logits, a, b, allowed, steps=STEPS, step=0.25)

        def art(batch: int, frozen: bool, model=model, shape=shape, x=x, y=y) -> Callable[[], None]:
            def work() -> None:
                for parameter in model.parameters():
                    parameter.requires_grad_(not frozen)
                classifier = PyTorchClassifier(
                    model,
                    nn.CrossEntropyLoss(),
                    shape,
                    10,
                    clip_values=(0.0, 1.0),
                    device_type="cpu",
                )
                ProjectedGradientDescentPyTorch(
                    classifier,
                    eps=0.03,
                    eps_step=0.0075,
                    max_iter=STEPS,
                    batch_size=batch,
                    verbose=False,
                ).generate(x.numpy(), y.numpy())
                for parameter in model.parameters():
                    parameter.requires_grad_(False)

            return work

        times = interleaved(
            {
                "limit": lambda m=plain, x=x, y=y, b=best: passes(m, x, y, b, STEPS),
                "ours": ours,
                "ART tuned": art(best, True),
                "ART defaults": art(32, False),
            }
        )
        rows += [
            (name, who, f"{seconds:.2f}", f"{seconds / times['limit']:.2f}")
            for who, seconds in times.items()
        ]
    table(
        f"PGD-{STEPS}: ratio to {STEPS} forward and backward passes",
        rows,
        ("model", "who", "seconds", "ratio to the limit"),
    )


def attribution_methods() -> None:
    """(b) IG, SHAP and LIME per sample, as a ratio to the passes that they need."""
    table(
        "Attributions: milliseconds a sample, and ratio to the passes that ours needs",
        [row for name in ("digits-cnn", "adult-mlp") for row in attribution_times(name)],
        ("model", "method", "who", "ms a sample", "ratio to the limit"),
    )


def attribution_times(name: str) -> list[tuple[str, ...]]:
    """The rows of one model."""
    from captum.attr import IntegratedGradients

    subject = audit.load(f"zoo:{name}")
    n, steps, permutations, draws = 64, 32, 6, 600
    rows = 50 if name == "adult-mlp" else 1  # that stand for what is absent
    x, _ = subject.batch(np.arange(n))
    target = subject.logits(x).argmax(1)
    base = attributions.baseline(subject)
    score, _ = attributions.score_function(subject, 0)
    batch = Batch(subject, x, target, np.arange(n, dtype=np.uint64))
    # randomised=1 leaves out the believability tests: the method alone is timed.
    attributions.randomised_copy(subject, 1)
    per_unit = 2 * permutations * (subject.kind.parts(subject).count + 1) * rows

    def library_ig() -> None:
        IntegratedGradients(score).attribute(
            x.clone(), baselines=base.expand_as(x), additional_forward_args=(target,)
        )

    few, library_shap, library_lime = (table_methods if rows > 1 else picture_methods)(
        subject, x, rows
    )
    ours = partial(attributions.shap, batch, randomised=1, permutations=permutations, rows=50)
    times = interleaved(
        {
            "IG limit": partial(gradients, subject, x, n * steps),
            "IG ours": partial(attributions.integrated_gradients, batch, randomised=1, steps=steps),
            "IG library": library_ig,
            "SHAP limit": partial(forwards, subject, x, n * per_unit),
            "SHAP ours": ours,
            "SHAP library": library_shap,
            "LIME limit": partial(forwards, subject, x, n * draws),
            "LIME ours": partial(attributions.lime, batch, randomised=1, draws=draws, rows=200),
            "LIME library": library_lime,
        }
    )
    found: list[tuple[str, ...]] = []
    for method in ("IG", "SHAP", "LIME"):
        limit = times[f"{method} limit"] / n
        for who in ("limit", "ours", "library"):
            count = few if who == "library" and method != "IG" else n
            each = times[f"{method} {who}"] / count
            found.append((name, method, who, f"{1000 * each:.2f}", f"{each / limit:.1f}"))
    return found


def forwards(subject: audit.Subject, x: torch.Tensor, count: int) -> None:
    """As many forward passes, in batches, and nothing else."""
    with torch.no_grad():
        for done in range(0, count, 2048):
            subject.logits(x[torch.arange(min(2048, count - done)) % len(x)])


def gradients(subject: audit.Subject, x: torch.Tensor, count: int) -> None:
    """As many forward and backward passes, in batches, and nothing else."""
    for done in range(0, count, 256):
        point = x[torch.arange(min(256, count - done)) % len(x)].requires_grad_(True)
        torch.autograd.grad(subject.logits(point).sum(), point)


def probabilities(subject: audit.Subject, rows: np.ndarray) -> np.ndarray:
    """The model as the libraries call it."""
    with torch.no_grad():
        return subject.logits(torch.as_tensor(rows, dtype=torch.float32)).softmax(1).numpy()


Methods = tuple[int, Callable[[], None], Callable[[], None]]  # samples, SHAP, LIME


def table_methods(subject: audit.Subject, x: torch.Tensor, rows: int) -> Methods:
    """SHAP and LIME of a table by their libraries, on a few samples."""
    import lime.lime_tabular
    import shap

    model = partial(probabilities, subject)
    background = subject.kind.absent(subject, rows).numpy()

    def by_shap() -> None:
        shap.PermutationExplainer(model, background)(x[:4].numpy(), silent=True)

    def by_lime() -> None:
        explainer = lime.lime_tabular.LimeTabularExplainer(subject.inputs.numpy(), random_state=0)
        for row in x[:4].numpy():
            explainer.explain_instance(row, model)

    return 4, by_shap, by_lime


def picture_methods(subject: audit.Subject, x: torch.Tensor, _: int) -> Methods:
    """SHAP and LIME of pictures by their libraries, on a few samples."""
    import lime.lime_image
    import shap

    masker = shap.maskers.Image(0.0, (8, 8, 1))

    def model(rows: np.ndarray) -> np.ndarray:
        return probabilities(subject, np.asarray(rows)[..., :1].transpose(0, 3, 1, 2))

    def by_shap() -> None:
        images = x[:2].permute(0, 2, 3, 1).numpy()
        shap.PartitionExplainer(model, masker)(images, silent=True)

    def by_lime() -> None:
        explainer = lime.lime_image.LimeImageExplainer(random_state=0)
        for image in x[:2, 0].double().numpy() / 16:
            explainer.explain_instance(image, model)

    return 2, by_shap, by_lime


def straight_script() -> None:
    """The numbers of a `standard` audit of digits-cnn, by the libraries at their defaults."""
    import lime.lime_image
    import shap
    from art.attacks.evasion import FastGradientMethod, ProjectedGradientDescent
    from art.estimators.classification import PyTorchClassifier
    from captum.attr import IntegratedGradients, LayerGradCam
    from sklearn.metrics import balanced_accuracy_score, classification_report, f1_score

    subject = audit.load("zoo:digits-cnn")
    model = nn.Sequential(subject.network.preprocess, subject.core)
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    x, y = subject.inputs, subject.labels.numpy()
    with torch.no_grad():
        p = model(x).softmax(1).numpy()
    balanced_accuracy_score(y, p.argmax(1))
    f1_score(y, p.argmax(1), average="macro")
    classification_report(y, p.argmax(1), output_dict=True)
    classifier = PyTorchClassifier(
        model, nn.CrossEntropyLoss(), (1, 8, 8), 10, clip_values=(0.0, 16.0), device_type="cpu"
    )
    for eps in (0.25, 0.5, 1.0):
        for attack in (
            FastGradientMethod(classifier, eps=eps),
            ProjectedGradientDescent(
                classifier, eps=eps, eps_step=eps / 8, max_iter=20, num_random_init=1, verbose=False
            ),
        ):
            classifier.predict(attack.generate(x[:500].numpy(), y[:500])).argmax(1)
    target = torch.as_tensor(p.argmax(1))[:64]
    some = x[:64].clone()
    random = attributions.randomised_copy(subject, 1)
    for net in (model, random):
        IntegratedGradients(net).attribute(some.clone(), target=target)
        conv = (net[1] if isinstance(net, nn.Sequential) else net.core).features[5]
        LayerGradCam(net, conv).attribute(some.clone().requires_grad_(True), target=target)

        def pictures(rows: np.ndarray, net=net) -> np.ndarray:
            images = np.asarray(rows)[..., :1].transpose(0, 3, 1, 2)
            with torch.no_grad():
                return net(torch.as_tensor(images, dtype=torch.float32)).softmax(1).numpy()

        masker = shap.maskers.Image(0.0, (8, 8, 1))
        shap.PartitionExplainer(pictures, masker)(some.permute(0, 2, 3, 1).numpy(), silent=True)
        explainer = lime.lime_image.LimeImageExplainer(random_state=0)
        for image in some[:, 0].double().numpy() / 16:
            explainer.explain_instance(image, pictures)


# What the straight script answers too.
ASKED = (
    "performance.classification",
    "calibration",
    "robustness.fgsm",
    "robustness.pgd",
    "imbalance",
    "interpretability.integrated_gradients",
    "interpretability.gradcam",
    "interpretability.shap",
    "interpretability.lime",
    "training.weights",
)


def whole_audit() -> None:
    """(c) the whole `standard` audit beside the straight script; (d) each zoo model's profiles."""
    here = str(Path(__file__).resolve())

    def command(*arguments: str) -> Callable[[], None]:
        def work() -> None:
            with tempfile.TemporaryDirectory() as folder:
                subprocess.run(
                    [sys.executable, *arguments], cwd=folder, check=False, capture_output=True
                )

        return work

    asked = [word for check in ASKED for word in ("--check", check)]
    times = interleaved(
        {
            "ours": command("-m", "audit", "run", "zoo:digits-cnn", *asked),
            "straight script": command(here, "straight"),
        }
    )
    rows = [(k, f"{v:.1f}", f"{v / times['ours']:.1f}") for k, v in times.items()]
    table(
        "A standard audit of digits-cnn, asked what the script answers, process and all",
        rows,
        ("who", "seconds", "ratio"),
    )
    profiles = {
        f"{name} {profile}": command("-m", "audit", "run", f"zoo:{name}", "--profile", profile)
        for name in ("digits-cnn", "adult-mlp", "vowels-lstm")
        for profile in ("quick", "standard")
    }
    profiles["--help"] = command("-m", "audit", "--help")
    table(
        "Whole commands",
        [(k, f"{v:.1f}") for k, v in interleaved(profiles, 3).items()],
        ("command", "seconds"),
    )


PROBE = """
import resource, sys, numpy as np, torch, audit
n = int(sys.argv[1])
x = np.random.default_rng(0).random((n, 1, 28, 28), dtype=np.float32)
y = np.arange(n) % 10
torch.manual_seed(0)
sys.path.insert(0, sys.argv[2])
from speed import Cnn
subject = audit.Subject(Cnn(), x, y, input={"range": (0, 1)})
record = audit.run(subject, profile="quick", evidence=sys.argv[3])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def memory() -> None:
    """(e) what ten times the samples add to the peak, in bytes of the data added."""
    peaks = {}
    for n in (4000, 40_000):
        with tempfile.TemporaryDirectory() as folder:
            found = subprocess.run(
                [sys.executable, "-c", PROBE, str(n), str(Path(__file__).parent), folder],
                check=True,
                capture_output=True,
                text=True,
            )
        peaks[n] = int(found.stdout.split()[-1])
    added = 36_000 * 28 * 28 * 4
    growth = peaks[40_000] - peaks[4000]
    rows = [(f"{n:,}", f"{peak / 1e6:.0f}") for n, peak in peaks.items()]
    table("Peak memory of a quick audit, CNN on 28x28 images", rows, ("samples", "MB"))
    print(f"\ntotal growth / bytes of data added: {growth / added:.2f}")


PARTS = {
    "attacks": attacks,
    "attributions": attribution_methods,
    "audit": whole_audit,
    "memory": memory,
}


def main() -> None:
    """Time the parts that are named, or all, and print the tables."""
    warnings.simplefilter("ignore")
    chosen = sys.argv[1:] or list(PARTS)
    if chosen == ["straight"]:
        with contextlib.redirect_stderr(io.StringIO()):
            straight_script()
        return
    print(
        f"{torch.get_num_threads()} threads, torch {torch.__version__}, medians of {ROUNDS} in turn"
    )
    for part in chosen:
        PARTS[part]()


if __name__ == "__main__":
    main()

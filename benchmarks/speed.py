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
from audit.methods import attributions
from audit.methods.attacks.ascent import ascent
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
    import lime.lime_image
    import lime.lime_tabular
    import shap
    from captum.attr import IntegratedGradients

    rows = []
    for name in ("digits-cnn", "adult-mlp"):
        subject = audit.load(f"zoo:{name}")
        n = 64
        samples = np.arange(n)
        x, _ = subject.batch(samples)
        target = subject.logits(x).argmax(1)
        base = attributions.baseline(subject)
        parts = subject.kind.parts(subject)
        score, _ = attributions.score_function(subject, 0)

        def forwards(count: int, subject=subject, x=x) -> None:
            with torch.no_grad():
                done = 0
                while done < count:
                    size = min(2048, count - done)
                    subject.logits(x[torch.arange(size) % len(x)])
                    done += size

        def gradients(count: int, subject=subject, x=x) -> None:
            done = 0
            while done < count:
                size = min(256, count - done)
                point = x[torch.arange(size) % len(x)].requires_grad_(True)
                torch.autograd.grad(subject.logits(point).sum(), point)
                done += size

        seeds = np.arange(n, dtype=np.uint64)
        batch = Batch(subject, x, target, seeds)

        def library_ig(score=score, x=x, base=base, target=target) -> None:
            IntegratedGradients(score).attribute(
                x.clone(), baselines=base.expand_as(x), additional_forward_args=(target,)
            )

        def probabilities(rows: np.ndarray, subject=subject) -> np.ndarray:
            with torch.no_grad():
                return subject.logits(torch.as_tensor(rows, dtype=torch.float32)).softmax(1).numpy()

        steps, permutations, bg, draws = 32, 6, 50, 600
        # randomised=1 leaves out the believability tests: the method alone is timed.
        attributions.randomised_copy(subject, 1)
        per_unit = 2 * permutations * (parts.count + 1) * (bg if name == "adult-mlp" else 1)
        if name == "adult-mlp":
            background = attributions.background(subject, bg).numpy()
            few = 4

            def library_shap(
                background=background, x=x, probabilities=probabilities, few=few
            ) -> None:
                shap.PermutationExplainer(probabilities, background)(x[:few].numpy(), silent=True)

            def library_lime(subject=subject, x=x, probabilities=probabilities, few=few) -> None:
                explainer = lime.lime_tabular.LimeTabularExplainer(
                    subject.x.numpy(), random_state=0
                )
                for row in x[:few].numpy():
                    explainer.explain_instance(row, probabilities)
        else:
            few = 2
            masker = shap.maskers.Image(0.0, (8, 8, 1))

            def pictures(rows: np.ndarray, probabilities=probabilities) -> np.ndarray:
                return probabilities(np.asarray(rows)[..., :1].transpose(0, 3, 1, 2))

            def library_shap(masker=masker, x=x, pictures=pictures, few=few) -> None:
                images = x[:few].permute(0, 2, 3, 1).numpy()
                shap.PartitionExplainer(pictures, masker)(images, silent=True)

            def library_lime(x=x, pictures=pictures, few=few) -> None:
                explainer = lime.lime_image.LimeImageExplainer(random_state=0)
                for image in x[:few, 0].double().numpy() / 16:
                    explainer.explain_instance(image, pictures)

        times = interleaved(
            {
                "IG limit": partial(gradients, n * steps),
                "IG ours": partial(
                    attributions.integrated_gradients, batch, randomised=1, steps=steps
                ),
                "IG library": library_ig,
                "SHAP limit": partial(forwards, n * per_unit),
                "SHAP ours": partial(
                    attributions.shap, batch, randomised=1, permutations=permutations, rows=bg
                ),
                "SHAP library": library_shap,
                "LIME limit": partial(forwards, n * draws),
                "LIME ours": partial(attributions.lime, batch, randomised=1, draws=draws, rows=200),
                "LIME library": library_lime,
            }
        )
        for method in ("IG", "SHAP", "LIME"):
            limit = times[f"{method} limit"] / n
            for who in ("limit", "ours", "library"):
                count = few if who == "library" and method != "IG" else n
                each = times[f"{method} {who}"] / count
                rows.append((name, method, who, f"{1000 * each:.2f}", f"{each / limit:.1f}"))
    table(
        "Attributions: milliseconds a sample, and ratio to the passes that ours needs",
        rows,
        ("model", "method", "who", "ms a sample", "ratio to the limit"),
    )


def straight_script() -> None:
    """The numbers of a `standard` audit of digits-cnn, by the libraries at their defaults."""
    import lime.lime_image
    import shap
    from art.attacks.evasion import FastGradientMethod, ProjectedGradientDescent
    from art.estimators.classification import PyTorchClassifier
    from captum.attr import IntegratedGradients, LayerGradCam
    from sklearn.metrics import balanced_accuracy_score, classification_report, f1_score

    subject = audit.load("zoo:digits-cnn")
    model = nn.Sequential(subject.preprocess, subject.core)
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    x, y = subject.x, subject.y.numpy()
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
    random = audit.methods.attributions.randomised_copy(subject, 1)  # type: ignore[attr-defined]
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

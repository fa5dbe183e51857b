"""Attributions to a subject's samples. Each keeps the name that it had when it drew its first numbers.

What is explained is the log-odds of the answered class; for a regression it is the value, in standard
deviations of the labels. What is taken away is replaced by the data's mean, or by rows of it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audit.evidence import Batch, producer
from audit.methods.attributions import class_activation, coalitions, gradients, surrogates
from audit.methods.attributions.faithfulness import draw_anew, faithfulness
from audit.methods.attributions.scores import Score, in_chunks
from audit.methods.screening import players
from audit.outputs import full
from audit.subject import Network, Subject


def score_function(subject: Subject, randomised: int) -> tuple[Score, nn.Module]:
    """Scores of the subject's model, or of its copy with weights drawn anew.

    Returns:
        ((x, target) → log-odds [n], the network that is called).
    """
    task = subject.task
    network = randomised_copy(subject, randomised) if randomised else subject.network

    def score(x: Tensor, target: Tensor) -> Tensor:
        found: Tensor = task.explained(subject, network.logits(x), target) / task.spread(
            subject, target
        )
        return found

    return score, network.core


def randomised_copy(subject: Subject, seed: int) -> Network:
    """The model with every weight tensor drawn anew; made once."""
    return subject.derived(
        f"randomised {seed}", lambda: subject.network.copy(lambda core: draw_anew(core, seed))
    )


def last_convolution(subject: Subject) -> str | None:
    """Name of the last convolution that runs on the way to the answer, None without one."""
    return class_activation.last_convolution(
        subject.core, lambda: subject.logits(subject.batch([0])[0])
    )


def baseline(subject: Subject) -> Tensor:
    """[1, ...] what an absent part is replaced by: the mean of the evaluation data."""
    return subject.kind.baseline(subject).to(subject.moments.mean)


def start(subject: Subject, x: Tensor) -> Tensor:
    """[n, ...] where a path to samples begins: the baseline, but for what cannot be moved to.

    That is padding, and what has nothing between two values.
    """
    base = baseline(subject).expand_as(x)
    for stays in (subject.padding(x), subject.kind.unmoved(subject)):
        base = base if stays is None else torch.where(stays, x, base)
    return base


def answered(batch: Batch, output: str) -> Tensor:
    """[n] the class that the (unrandomised) model answers, or the value: what is explained."""
    subject = batch.subject
    with torch.no_grad():
        return subject.task.to_explain(subject, subject.logits(batch.x), output)


def believability(
    batch: Batch, score: Score, target: Tensor, per_player: Tensor, randomised: int
) -> dict[str, Tensor]:
    """How well the map tells what matters, beside a map made without the model.

    Returns:
        gain, model_free_gain: [n]; empty for the randomised model.
    """
    if randomised:
        return {}
    base, parts = baseline(batch.subject), players(batch.subject)
    x = full(batch.x)
    pads = batch.subject.padding(x)
    free = parts.total(((x - base) / (batch.subject.moments.std + 1e-12)).abs().nan_to_num())
    centre: Tensor | float = 0.0
    if not batch.subject.task.has_zero:
        ends = in_chunks(score, x, target) + in_chunks(score, base.expand_as(x), target)
        centre = ends / 2
    return {
        "gain": faithfulness(score, x, target, base, parts, per_player, centre=centre, pads=pads),
        "model_free_gain": faithfulness(
            score, x, target, base, parts, free, centre=centre, pads=pads
        ),
    }


@producer(2, private=("map", "players"), name="audit.methods.attributions.integrated_gradients")
def integrated_gradients(
    batch: Batch, *, steps: int, randomised: int = 0, output: str = ""
) -> dict[str, Tensor]:
    """Integrated Gradients from the data's mean; padding stays as it is on the way.

    Returns:
        map [n, ...]: attributions, whose sum is the difference of scores.
        players [n, players]: the same, summed over parts.
        error [n]: |sum − difference| / |difference|, the completeness error.
    """
    score, _ = score_function(batch.subject, randomised)
    target = answered(batch, output)
    x = full(batch.x)
    found = gradients.integrated_gradients(score, x, target, start(batch.subject, x), steps=steps)
    per_player = players(batch.subject).total(found.values)
    return {
        "map": found.values,
        "players": per_player,
        "target": target,
        "error": found.error,
        **believability(batch, score, target, per_player, randomised),
    }


@producer(1, private=("map", "players"), name="audit.methods.attributions.gradcam")
def gradcam(
    batch: Batch, *, layer: str, randomised: int = 0, output: str = ""
) -> dict[str, Tensor]:
    """Grad-CAM, signed.

    Returns:
        map [n, 1, ...]: the coarse map, enlarged to the input's height and width.
        players [n, players].

    Raises:
        NotApplicable: what the layer answers has no place in the input.
    """
    subject = batch.subject
    score, core = score_function(subject, randomised)
    target = answered(batch, output)
    found = class_activation.gradcam(
        score,
        full(batch.x),
        target,
        core.get_submodule(layer),
        extents=subject.kind.extents(subject),
    )
    spread = subject.kind.over_channels(subject, found)
    per_player = players(subject).total(spread.float().contiguous())
    return {
        "map": found.float(),
        "players": per_player,
        "target": target,
        **believability(batch, score, target, per_player, randomised),
    }


@producer(1, private=("map", "players"), name="audit.methods.attributions.shap")
def shap(
    batch: Batch, *, permutations: int, rows: int, randomised: int = 0, output: str = ""
) -> dict[str, Tensor]:
    """SHAP values of the parts.

    Args:
        rows: of the data that stand for what is absent (tables); else its mean does.

    Returns:
        players [n, players], error [n].
    """
    subject = batch.subject
    score, _ = score_function(subject, randomised)
    target, x = answered(batch, output), full(batch.x)
    found = coalitions.shap(
        score,
        x,
        target,
        subject.kind.absent(subject, rows),
        players(subject),
        permutations=permutations,
        pads=subject.padding(x),
        seed=batch.draws,
    )
    return {
        "players": found.values,
        "target": target,
        "error": found.error,
        **believability(batch, score, target, found.values, randomised),
    }


@producer(1, private=("map", "players"), name="audit.methods.attributions.lime")
def lime(
    batch: Batch, *, draws: int, rows: int, randomised: int = 0, output: str = ""
) -> dict[str, Tensor]:
    """LIME's surrogates.

    Args:
        rows: of the data that stand for what is absent (tables); else its mean does.

    Returns:
        players [n, players]: the surrogate's coefficients.
        fidelity [n]: its weighted R² on its neighbourhood.
    """
    subject = batch.subject
    score, _ = score_function(subject, randomised)
    target, x = answered(batch, output), full(batch.x)
    found = surrogates.lime(
        score,
        x,
        target,
        subject.kind.absent(subject, rows),
        players(subject),
        draws=draws,
        pads=subject.padding(x),
        seed=batch.draws,
    )
    return {
        "players": found.coefficients,
        "target": target,
        "fidelity": found.fidelity,
        **believability(batch, score, target, found.coefficients, randomised),
    }

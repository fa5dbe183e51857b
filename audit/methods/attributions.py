"""Attributions: how much did each part of the input speak for the answer?

What is explained is the log-odds of the answered class: its logit minus the log-sum-exp of the
others, which means the same for one logit, many logits and probabilities. For a regression it is
the value, in standard deviations of the labels. What is taken away is
replaced by the data's mean.

captum does Integrated Gradients and Grad-CAM, lime fits LIME's surrogates. The forward passes that
LIME and SHAP need are ours, batched over samples: the libraries' loops over single samples cost
3–95 times as much (`benchmarks/`). Tests hold both equal to the libraries' answers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from audit.errors import NotApplicable
from audit.evidence import Batch, producer
from audit.inputs import Parts
from audit.methods.screening import players
from audit.outputs import full
from audit.subject import Network, Subject

CHUNK = 256
EXTRA_TOKENS = 8  # before those of a transformer's patches, at most
MOST_VALUES = 1 << 24  # of inputs held at once, so that large pictures do not fill the memory
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
ScoreFunction = Callable[[Tensor, Tensor], Tensor]


def score_function(subject: Subject, randomised: int) -> tuple[ScoreFunction, nn.Module]:
    """Scores of the subject's model, or of its copy with weights drawn anew.

    Returns:
        ((x, target) → log-odds [n], the network that is called).
    """
    unit, explained = subject.task.spread(subject), subject.task.explained
    if not randomised:
        return (lambda x, t: explained(subject.logits(x), t) / unit), subject.core
    network = randomised_copy(subject, randomised)
    return (lambda x, t: explained(network.logits(x), t) / unit), network.core


def randomised_copy(subject: Subject, seed: int) -> Network:
    """The model with every weight tensor drawn anew from a normal of its own mean and spread.

    The null of the model randomisation test (Adebayo et al. 2018, 3.1).
    """

    def draw(core: nn.Module) -> None:
        generator = torch.Generator().manual_seed(seed)
        for parameter in core.parameters():
            if parameter.is_floating_point() and parameter.numel() > 1:
                fresh = torch.randn(parameter.shape, generator=generator).to(parameter)
                parameter.copy_(fresh * parameter.std() + parameter.mean())

    return subject.derived(f"randomised {seed}", lambda: subject.network.copy(draw))


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


def at_once(x: Tensor, most: int) -> int:
    """How many inputs like those of `x` to hold at once."""
    return max(1, min(most, MOST_VALUES // max(1, x[0].numel())))


def in_chunks(score: ScoreFunction, x: Tensor, target: Tensor) -> Tensor:
    """[n] scores without gradients, as many inputs at once as memory allows."""
    with torch.no_grad():
        return torch.cat(
            [
                score(a, b)
                for a, b in zip(
                    x.split(at_once(x, CHUNK)), target.split(at_once(x, CHUNK)), strict=True
                )
            ]
        )


def answered(batch: Batch) -> Tensor:
    """[n] the class that the (unrandomised) model answers: what is explained."""
    with torch.no_grad():
        return batch.subject.logits(batch.x).argmax(1)


def faithfulness(
    score: ScoreFunction,
    x: Tensor,
    target: Tensor,
    base: Tensor,
    parts: Parts,
    ranked: Tensor,
    steps: int = 8,
    centre: Tensor | float = 0.0,
    pads: Tensor | None = None,
) -> Tensor:
    """[n] insertion AUC minus deletion AUC (Petsiuk et al. 2018), as changes of probability.

    Parts are put in (taken out) from the one ranked highest.

    Args:
        ranked: [n, players] attributions.
        centre: [n] the score that counts as a probability of one half.
        pads: [n, ...] values that are no part of the samples, and stay as they are.
    """
    if pads is not None:
        base = torch.where(pads, x, base)
    order = ranked.argsort(1, descending=True)
    rank = order.argsort(1)
    gain = torch.zeros(len(x), device=x.device)
    for step in range(1, steps):
        top = rank < round(parts.count * step / steps)
        keep = parts.expand(top).to(x.device)
        inserted = torch.where(keep, x, base)
        deleted = torch.where(keep, base, x)
        gain += torch.sigmoid(in_chunks(score, inserted, target) - centre)
        gain -= torch.sigmoid(in_chunks(score, deleted, target) - centre)
    return gain / (steps - 1)


def believability(
    batch: Batch, score: ScoreFunction, target: Tensor, per_player: Tensor, randomised: int
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
    if batch.subject.task.valued:  # its values have no zero of their own
        ends = in_chunks(score, x, target) + in_chunks(score, base.expand_as(x), target)
        centre = ends / 2
    return {
        "gain": faithfulness(score, x, target, base, parts, per_player, centre=centre, pads=pads),
        "model_free_gain": faithfulness(
            score, x, target, base, parts, free, centre=centre, pads=pads
        ),
    }


@producer(version=2, private=("map", "players"))
def integrated_gradients(batch: Batch, *, steps: int, randomised: int = 0) -> dict[str, Tensor]:
    """Integrated Gradients (Sundararajan et al. 2017) from the data's mean, by captum.

    Padding stays as it is on the way.

    Gauss–Legendre points; `steps` of them in batches of 256.

    Returns:
        map [n, ...]: attributions, whose sum is the difference of scores.
        players [n, players]: the same, summed over parts.
        error [n]: |sum − difference| / |difference|, the completeness error.
    """
    from captum.attr import IntegratedGradients

    score, _ = score_function(batch.subject, randomised)
    target = answered(batch)
    x = full(batch.x).clone()
    base = start(batch.subject, x)
    found = (
        IntegratedGradients(score)
        .attribute(
            x,
            baselines=base,
            additional_forward_args=(target,),
            n_steps=steps,
            method="gausslegendre",
            internal_batch_size=max(at_once(x, CHUNK), len(x)),
        )
        .float()
        .detach()
        .nan_to_num()  # what is missing has no share
    )
    parts = players(batch.subject)
    per_player = parts.total(found)
    difference = in_chunks(score, x, target) - in_chunks(score, base, target)
    return {
        "map": found,
        "players": per_player,
        "target": target,
        "error": relative_error(found.flatten(1).sum(1), difference),
        **believability(batch, score, target, per_player, randomised),
    }


def relative_error(total: Tensor, difference: Tensor) -> Tensor:
    """[n] how far the attributions' sums are from the differences of scores that they explain."""
    return (total - difference).abs() / difference.abs().clamp_min(1e-6)


def last_convolution(subject: Subject) -> str | None:
    """Name of the last convolution that runs on the way to the answer, None without one."""
    order: list[str] = []
    handles = [
        module.register_forward_hook(lambda *_, name=name: order.append(name))
        for name, module in subject.core.named_modules()
        if isinstance(module, CONVOLUTIONS)
    ]
    try:
        with torch.no_grad():
            subject.logits(subject.batch([0])[0])
    finally:
        for handle in handles:
            handle.remove()
    return order[-1] if order else None


@producer(version=1, private=("map", "players"))
def gradcam(batch: Batch, *, layer: str, randomised: int = 0) -> dict[str, Tensor]:
    """Grad-CAM (Selvaraju et al. 2017), signed.

    At a convolution's output by captum; at a layer's that answers with tokens by those tokens, laid back
    over the input.

    Returns:
        map [n, 1, ...]: the coarse map, enlarged to the input's height and width.
        players [n, players].

    Raises:
        NotApplicable: what the layer answers has no place in the input.
    """
    from captum.attr import LayerAttribution, LayerGradCam

    score, core = score_function(batch.subject, randomised)
    target = answered(batch)
    module = core.get_submodule(layer)
    x = full(batch.x).clone().requires_grad_(True)
    subject = batch.subject
    extents = subject.kind.extents(subject)
    if isinstance(module, CONVOLUTIONS):
        found = LayerGradCam(score, module).attribute(
            x, additional_forward_args=(target,), relu_attributions=False
        )
    else:
        found = over_tokens(lambda: score(x, target), module, len(x), extents)
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(extents)]
    enlarged = LayerAttribution.interpolate(found, extents, interpolate_mode=mode).detach()
    spread = subject.kind.over_channels(subject, enlarged)
    per_player = players(subject).total(spread.float().contiguous())
    return {
        "map": enlarged.float(),
        "players": per_player,
        "target": target,
        **believability(batch, score, target, per_player, randomised),
    }


def over_tokens(
    score: Callable[[], Tensor], module: nn.Module, n: int, extents: tuple[int, ...]
) -> Tensor:
    """[n, 1, *grid] Grad-CAM at a layer whose output is [n, tokens, width], or [n, channels, *places].

    Args:
        score: runs the network on the n samples. extents: of the input's space or time.

    Raises:
        NotApplicable: the output is of another form, or its tokens cannot be laid over the input.
    """
    kept: list[Tensor] = []

    def keep(_module: nn.Module, _given: Any, made: Any) -> None:
        kept.append(made[0] if isinstance(made, tuple) else made)

    handle = module.register_forward_hook(keep)
    try:
        total = score().sum()
    finally:
        handle.remove()
    if not kept or not kept[-1].requires_grad:
        raise NotApplicable("no gradient of the answers reaches that layer")
    (gradient,) = torch.autograd.grad(total, kept[-1])
    output = kept[-1].detach()
    if output.ndim == 2 + len(extents) and output.ndim > 3:
        weights = gradient.flatten(2).mean(2)
        return torch.einsum("nc...,nc->n...", output, weights)[:, None]
    if output.ndim == 3 and len(output) != n == output.shape[1]:  # tokens first, as by default
        output, gradient = output.transpose(0, 1), gradient.transpose(0, 1)
    if output.ndim != 3 or len(output) != n:
        raise NotApplicable(
            f"that layer answers with the shape {list(output.shape)}, which has no place in the input"
        )
    grid = grid_of(output.shape[1], extents)
    tokens = (output * gradient.mean(1, keepdim=True)).sum(2)
    return tokens[:, -math.prod(grid) :].reshape(n, 1, *grid)


def grid_of(tokens: int, extents: tuple[int, ...]) -> tuple[int, ...]:
    """The grid of equal patches that tokens stand for.

    Up to `EXTRA_TOKENS` of them stand before it, for the class or for nothing (Darcet et al. 2024).

    Raises:
        NotApplicable: there is none.
    """
    for extra in range(EXTRA_TOKENS + 1):
        count = tokens - extra
        if len(extents) == 1 and count > 0 and extents[0] % count == 0:
            return (count,)
        if len(extents) == 2 and count > 0:
            patch = math.isqrt(extents[0] * extents[1] // count)  # patches are square
            if patch and extents[0] % patch == 0 == extents[1] % patch:
                grid = (extents[0] // patch, extents[1] // patch)
                if math.prod(grid) == count:
                    return grid
    raise NotApplicable(f"that layer's {tokens} tokens cannot be laid over an input of {extents}")


@producer(version=1, private=("map", "players"))
def shap(batch: Batch, *, permutations: int, rows: int, randomised: int = 0) -> dict[str, Tensor]:
    """SHAP values of the parts (Lundberg and Lee 2017), by antithetic permutation sampling.

    Parts enter in random orders, each order forwards and backwards (Mitchell et al. 2022); what is
    absent is taken from `rows` background rows (tables) or the data's mean. The values sum to the
    difference of scores by construction; the tests hold them to shap's ExactExplainer.

    Returns:
        players [n, players], error [n].
    """
    subject = batch.subject
    score, _ = score_function(subject, randomised)
    target, x, parts = answered(batch), full(batch.x), players(subject)
    fill, pads = subject.kind.absent(subject, rows), subject.padding(x)
    count = parts.count
    values = torch.zeros(len(x), count, device=x.device)
    for permutation in range(permutations):
        order = batch.uniform(permutation, (count,)).argsort(1).to(x.device)
        for forwards in (order, order.flip(1)):
            rank = forwards.argsort(1)
            # masks[:, s]: the first s parts of the order are present
            sizes = torch.arange(count + 1, device=x.device)
            masks = rank[:, None, :] < sizes[None, :, None]
            worth = coalition_values(score, x, target, fill, parts, masks, pads)
            values.scatter_add_(1, forwards, worth[:, 1:] - worth[:, :-1])
    values /= 2 * permutations
    difference = worth[:, -1] - worth[:, 0]
    return {
        "players": values,
        "target": target,
        "error": relative_error(values.sum(1), difference),
        **believability(batch, score, target, values, randomised),
    }


def coalition_values(
    score: ScoreFunction,
    x: Tensor,
    target: Tensor,
    fill: Tensor,
    parts: Parts,
    masks: Tensor,
    pads: Tensor | None = None,
) -> Tensor:
    """[n, m] mean score with only some parts present, over the rows that stand for the others.

    Args:
        fill: [b, ...] rows that absent parts are taken from.
        masks: [n, m, players] booleans.
        pads: [n, ...] values that are no part of the samples, and stay as they are.
    """
    n, m, _ = masks.shape
    b = len(fill)
    out = torch.empty(n * m, device=x.device)
    flat = masks.reshape(n * m, -1)
    per_chunk = max(1, at_once(x, 4096) // b)
    owner = torch.arange(n, device=x.device).repeat_interleave(m)
    with torch.no_grad():
        for start in range(0, n * m, per_chunk):
            rows = slice(start, start + per_chunk)
            keep = parts.expand(flat[rows]).to(x.device)[:, None]
            if pads is not None:
                keep = keep | pads[owner[rows]][:, None]
            own = x[owner[rows]][:, None]
            mixed = torch.where(keep, own, fill[None])
            goal = target[owner[rows]].repeat_interleave(b)
            scores = score(mixed.reshape(-1, *x.shape[1:]), goal)
            out[rows] = scores.reshape(-1, b).mean(1)
    return out.reshape(n, m)


@producer(version=1, private=("map", "players"))
def lime(batch: Batch, *, draws: int, rows: int, randomised: int = 0) -> dict[str, Tensor]:
    """LIME (Ribeiro et al. 2016): a weighted linear surrogate around each sample, fitted by lime.

    Parts are taken away at random and replaced by a background row's (tables) or the data's mean;
    the forward passes are batched over samples, the kernel and the ridge regression are lime's.

    Returns:
        players [n, players]: the surrogate's coefficients.
        fidelity [n]: its weighted R² on its neighbourhood.
    """
    from lime.lime_base import LimeBase

    subject = batch.subject
    score, _ = score_function(subject, randomised)
    target, x, parts = answered(batch), full(batch.x), players(subject)
    fill, pads = subject.kind.absent(subject, rows), subject.padding(x)
    n, count = len(x), parts.count
    masks = batch.uniform(0, (draws, count)) < 0.5
    masks[:, 0] = True  # the sample itself comes first, as lime expects
    picks = (batch.uniform(1, (draws,)) * len(fill)).long()
    flat_masks, flat_picks = masks.reshape(n * draws, count), picks.reshape(-1)
    owner = torch.arange(n, device=x.device).repeat_interleave(draws)
    out = torch.empty(n * draws, device=x.device)
    with torch.no_grad():
        size = at_once(x, 2048)
        for start in range(0, n * draws, size):
            part = slice(start, start + size)
            keep = parts.expand(flat_masks[part]).to(x.device)
            if pads is not None:
                keep = keep | pads[owner[part]]
            mixed = torch.where(keep, x[owner[part]], fill[flat_picks[part].to(x.device)])
            out[part] = score(mixed, target[owner[part]])
    labels = out.reshape(n, draws).double().cpu().numpy()
    width = 0.75 * math.sqrt(count)
    base = LimeBase(lambda d: np.sqrt(np.exp(-(d**2) / width**2)))
    coefficients = np.zeros((n, count), dtype=np.float32)
    fidelity = np.zeros(n, dtype=np.float32)
    for i in range(n):
        data = masks[i].double().cpu().numpy()
        distances = np.sqrt((1 - data).sum(1))
        _, pairs, r2, _ = base.explain_instance_with_data(
            data, labels[i][:, None], distances, 0, count, feature_selection="none"
        )
        for feature, weight in pairs:
            coefficients[i, feature] = weight
        fidelity[i] = r2
    per_player = torch.from_numpy(coefficients).to(x.device)
    return {
        "players": per_player,
        "target": target,
        "fidelity": torch.from_numpy(fidelity),
        **believability(batch, score, target, per_player, randomised),
    }

"""Gradients along the way from a baseline to the sample."""

from __future__ import annotations

from torch import Tensor

from audit.methods.attributions.scores import (
    CHUNK,
    Attributions,
    Score,
    at_once,
    in_chunks,
    relative_error,
)


def integrated_gradients(
    score: Score, x: Tensor, target: Tensor, base: Tensor, *, steps: int = 32
) -> Attributions:
    """Integrated Gradients (Sundararajan et al. 2017), by captum.

    Args:
        score: (points [n, ...], classes [n]) → [n], with gradients: what is explained.
        x: [n, ...] samples. target: [n] the class of each that is explained.
        base: [1 or n, ...] where the way begins: what stands for nothing.
        steps: Gauss–Legendre points on the way, in batches of 256.

    Returns:
        values [n, ...] and the completeness error.

    Example:
        >>> import torch
        >>> x, base = torch.tensor([[3.0, 1.0]]), torch.zeros(1, 2)
        >>> found = integrated_gradients(lambda x, _: x[:, 0] * x[:, 1], x, torch.tensor([0]), base)
        >>> found.values.round(decimals=4).tolist()
        [[1.5, 1.5]]
    """
    from captum.attr import IntegratedGradients

    found = (
        IntegratedGradients(score)
        .attribute(
            x.clone(),  # captum leaves `requires_grad` on its input when it raises
            baselines=base.expand_as(x),
            additional_forward_args=(target,),
            n_steps=steps,
            method="gausslegendre",
            internal_batch_size=max(at_once(x, CHUNK), len(x)),
        )
        .float()
        .detach()
        .nan_to_num()  # what is missing has no share
    )
    difference = in_chunks(score, x, target) - in_chunks(score, base.expand_as(x), target)
    return Attributions(found, relative_error(found.flatten(1).sum(1), difference))

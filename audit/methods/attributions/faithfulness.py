"""Can attributions be believed: do they rank what matters, and do they change with the weights?"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audit.inputs import Parts
from audit.methods.attributions.scores import Score, in_chunks


def faithfulness(
    score: Score,
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
        score: (points [n, ...], classes [n]) → [n]: what is explained.
        x: [n, ...] samples. target: [n] the class of each that is explained.
        base: [1 or n, ...] what stands for nothing.
        ranked: [n, parts] attributions.
        centre: [n] the score that counts as a probability of one half.
        pads: [n, ...] values that are no part of the samples, and stay as they are.

    Example:
        >>> parts, x, target = Parts(torch.arange(2), ["a", "b"], None), torch.ones(1, 2), torch.tensor([0])
        >>> first = lambda x, _: 8 * x[:, 0] - 4
        >>> [round(faithfulness(first, x, target, 0 * x, parts, torch.tensor([r]), 2).item(), 2)
        ...  for r in ([1.0, 0.0], [0.0, 1.0])]
        [0.96, -0.96]
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


def draw_anew(network: nn.Module, seed: int) -> None:
    """Draw every weight tensor of a network anew, in place, from a normal of its own mean and spread.

    The null of the model randomisation test (Adebayo et al. 2018, 3.1).

    Example:
        >>> layer = nn.Linear(100, 100, bias=False)
        >>> spread = layer.weight.std().item()
        >>> draw_anew(layer, 1)
        >>> abs(layer.weight.std().item() / spread - 1) < 0.05
        True
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.is_floating_point() and parameter.numel() > 1:
                fresh = torch.randn(parameter.shape, generator=generator).to(parameter)
                parameter.copy_(fresh * parameter.std() + parameter.mean())

"""HopSkipJump: an attack that sees the bare decision alone, by ART."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from audit.draws import Draws
from audit.methods.attacks.budgets import Bounds, Budget
from audit.methods.attacks.goals import Model, Victim


@dataclass(frozen=True)
class Nearest:
    """What a search for the smallest change found.

    Attributes:
        x: [n, ...] the nearest wrong points found.
        distance: [n] largest change of a value, in the budget's units; infinite where none was met.
    """

    x: Tensor
    distance: Tensor


def hop_skip_jump(
    model: Model | Victim,
    x: Tensor,
    y: Tensor,
    *,
    bounds: Bounds | Budget,
    iterations: int = 10,
    evaluations: int = 200,
    batch_size: int = 64,
    seed: int | Draws = 0,
) -> Nearest:
    """HopSkipJump (Chen et al. 2020, by ART) under Linf: sees the decision alone.

    The search is for the smallest change, so one run answers for every eps.

    Args:
        model: points [n, ...] → scores [n, classes].
        x: [n, ...] samples. y: [n] the class that each has to leave.
        bounds: the lowest and the highest value that an input may have; or the budget of eps 1.
        evaluations: of an iteration, at most.

    Raises:
        ValueError: the bounds are the wrong way round.

    Example:
        >>> found = hop_skip_jump(lambda x: torch.stack([1 - x.sum(1), x.sum(1) - 1], 1),
        ...                       torch.tensor([[0.7, 0.5]]), torch.tensor([1]), bounds=(0, 1))
        >>> float(found.distance) < 0.5  # 0.1 is enough
        True
    """
    from art.attacks.evasion import HopSkipJump
    from art.estimators.classification import BlackBoxClassifierNeuralNetwork

    victim, draws = Victim.of(model), Draws.of(seed, len(x))
    unit = bounds if isinstance(bounds, Budget) else Budget.of(1.0, x, bounds=bounds)
    ball = unit.around(x)
    touchable = (unit.radius > 0).expand_as(x)
    with torch.no_grad():
        k = victim.logits(x[:2]).shape[1]
    low, high = float(unit.low.min()), float(unit.high.max())

    def decide(points: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            point = torch.as_tensor(points, dtype=x.dtype, device=x.device)
            return torch.nn.functional.one_hot(victim.scores(point).argmax(1), k).cpu().numpy()

    classifier = BlackBoxClassifierNeuralNetwork(
        decide, tuple(x.shape[1:]), k, clip_values=(low, high), channels_first=True
    )
    attack = HopSkipJump(
        classifier,
        norm=np.inf,
        max_iter=iterations,
        max_eval=evaluations,
        init_eval=min(100, evaluations),
        init_size=100,
        batch_size=batch_size,
        verbose=False,
    )
    state = np.random.get_state()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            np.random.seed(int(draws.seeds[0] % (1 << 32)))  # ART draws from the global generator
            made = attack.generate(
                x.cpu().numpy(),
                y=np.eye(k, dtype=np.float32)[y.cpu().numpy()],
                mask=touchable.cpu().numpy().astype(np.float32),
            )
        finally:
            np.random.set_state(state)
    found = torch.as_tensor(made, dtype=x.dtype, device=x.device)
    with torch.no_grad():
        wrong = victim.scores(found).argmax(1) != y
    change = torch.where(ball.radius > 0, (found - x).abs() / ball.radius.clamp_min(1e-30), 0.0)
    return Nearest(found, torch.where(wrong, change.flatten(1).amax(1), torch.inf))

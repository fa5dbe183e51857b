"""Transfer: examples made on a surrogate that learnt from the model's answers alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audit.data import Dataset
from audit.draws import Draws
from audit.meta import SubjectMeta
from audit.methods.attacks.ascent import ascent
from audit.methods.attacks.budgets import Bounds, Budget, Norm, expand
from audit.methods.attacks.goals import Attacked, Model, Victim
from audit.methods.training import fit

EPOCHS = 8


class Standardised(nn.Module):
    """A network behind the standardisation of its inputs."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor, std: Tensor, body: nn.Module) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        body: Tensor = self.body(((x.to(self.mean) - self.mean) / self.std).nan_to_num())
        return body


def surrogate(
    x: Tensor, said: Tensor, classes: int, *, std: Tensor | None = None, channels_last: bool = False
) -> nn.Module:
    """A small network that answers as a model did (Papernot et al. 2017).

    Two strided convolutions for pictures of eight pixels and more, else two hidden layers; trained on the
    model's decisions, each sample with fresh noise in every epoch.

    Args:
        x: [n, ...] samples. said: [n] the class that the model answered.
        std: one standard deviation of the inputs, [] or [1, ...]; of all values together where None.
        channels_last: are pictures [n, height, width, channels]?

    Example:
        >>> x = torch.linspace(-1, 1, 2000)[:, None]
        >>> surrogate(x, (x[:, 0] > 0).long(), 2)(torch.tensor([[-0.5], [0.5]])).argmax(1)
        tensor([0, 1])
    """
    spread = x.std() if std is None else std

    def build() -> nn.Module:
        body = architecture(x, channels_last, max(classes, 2))
        return Standardised(x.nanmean(0, keepdim=True), spread, body).to(x.device)

    def noisy(_: nn.Module, inputs: Tensor, __: Tensor) -> Tensor:
        return inputs + 0.1 * spread * torch.randn_like(inputs)

    with torch.enable_grad():
        model = fit(
            build,
            Dataset(x, said),
            SubjectMeta(),
            seed=0,
            epochs=EPOCHS,
            batch_size=128,
            perturb=noisy,
        )
    return model.requires_grad_(False)


def architecture(x: Tensor, channels_last: bool, classes: int) -> nn.Module:
    """Two strided convolutions for pictures of eight pixels and more, else two hidden layers."""
    size = x[0].numel()
    if x.ndim != 4 or channels_last or min(x.shape[2:]) < 8:
        return nn.Sequential(
            nn.Flatten(),
            nn.Linear(size, 128),
            nn.ReLU(),
            nn.Linear(128, 64),
            nn.ReLU(),
            nn.Linear(64, classes),
        )
    return nn.Sequential(
        nn.Conv2d(x.shape[1], 16, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * (x.shape[2] // 4) * (x.shape[3] // 4), classes),
    )


def transfer(
    model: Model | Victim,
    learnt: Model,
    x: Tensor,
    y: Tensor,
    eps: float | Budget,
    *,
    steps: int = 20,
    norm: Norm = "linf",
    bounds: Bounds | None = None,
    seed: int | Draws = 0,
) -> Attacked:
    """PGD on a surrogate; the model is asked once, whether it falls for the result.

    Args:
        model: points [n, ...] → scores [n, classes]. learnt: the same of the surrogate.
        x: [n, ...] samples. y: [n] the class that each has to leave.
        eps: largest change of each value (Linf) or of all together (L2), in the units of `x`; or a budget.
        bounds: the lowest and the highest value that an input may have; none where None.

    Raises:
        ValueError: eps, the norm or the bounds are none.

    Example:
        >>> line, steep = (lambda x: torch.cat([-x, x], 1)), (lambda x: torch.cat([-9 * x, 9 * x], 1))
        >>> transfer(line, steep, torch.tensor([[0.1], [0.9]]), torch.tensor([1, 1]),
        ...          eps=0.2).broken.tolist()
        [True, False]
    """
    victim, allowed = Victim.of(model), Budget.of(eps, x, norm, bounds)
    start = Draws.of(seed, len(x)).uniform(0, x.shape[1:], x)
    found = ascent(learnt, x, y, allowed, steps=steps, step=2.5 / steps, start=start).final.detach()
    with torch.no_grad():
        already = victim.logits(x).argmax(1) != y
        point = torch.where(expand(already, x), x, victim.valid(found))
        return Attacked(point, victim.logits(point).argmax(1) != y)

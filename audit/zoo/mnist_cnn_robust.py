"""mnist-cnn-robust: the network of mnist-cnn, trained on adversarial examples."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audit.data import Dataset
from audit.methods.attacks.ascent import ascent
from audit.methods.attacks.budgets import Budget
from audit.methods.training import fit
from audit.zoo import ZooModel
from audit.zoo.datasets import MNIST, MNIST_SOURCE, mnist
from audit.zoo.mnist_cnn import MnistCNN

EPS, STEPS = 0.2, 7


def adversarial(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """PGD examples of `EPS` from random starts (Madry et al. 2018)."""
    like = torch.ones_like(x[:1])
    budget = Budget(EPS * like, 0 * like, like)
    return ascent(
        model, x, y, budget, steps=STEPS, step=2.5 / STEPS, start=torch.rand_like(x)
    ).final.detach()


def train(seed: int, data: Dataset) -> nn.Module:
    return fit(MnistCNN, data, MNIST, seed=seed, epochs=25, lr=2e-3, perturb=adversarial)


MODEL = ZooModel(
    name="mnist-cnn-robust",
    summary="the CNN of mnist-cnn, adversarially trained",
    architecture=MnistCNN,
    data=mnist,
    train=train,
    meta=MNIST.model_copy(update={"name": "mnist-cnn-robust"}),
    source=MNIST_SOURCE,
    recipe="AdamW, one-cycle to 2e-3, 25 epochs of 4,000 images, PGD-7 at eps 0.2, seed 0",
    limits="robust to small changes of pixels only: not to shifts, rotations or patches",
    quick_doubts=("robustness.patch robust_accuracy",),
)

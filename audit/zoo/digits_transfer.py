"""digits-transfer: the trunk of mnist-cnn, frozen, under a new head trained on 8x8 digits."""

from __future__ import annotations

from safetensors.torch import load_file
from torch import Tensor, nn

from audit.data import Dataset
from audit.meta import InputMeta, Preprocess
from audit.methods.training import fit
from audit.zoo import ZooModel
from audit.zoo.datasets import DIGITS, DIGITS_LIMITS, DIGITS_SOURCE, MNIST_SOURCE, digits
from audit.zoo.mnist_cnn import MODEL as MNIST_MODEL
from audit.zoo.mnist_cnn import MnistCNN

META = DIGITS.model_copy(
    update={
        "name": "digits-transfer",
        "input": InputMeta(
            kind="image",
            shape=[1, 8, 8],
            dtype="float32",
            range=(0, 16),
            preprocess=Preprocess(scale=1 / 16, resize=(28, 28)),
        ),
    }
)


class DigitsTransfer(nn.Module):
    """8x8 digits enlarged to [n, 1, 28, 28] → logits [n, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = MnistCNN().trunk
        self.head = nn.Linear(96, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.trunk(x))


def pretrained() -> DigitsTransfer:
    model = DigitsTransfer()
    state = load_file(MNIST_MODEL.weights)
    trunk = {k.removeprefix("trunk."): v for k, v in state.items() if k.startswith("trunk.")}
    model.trunk.load_state_dict(trunk)
    model.trunk.requires_grad_(False)
    return model


def train(seed: int, data: Dataset) -> nn.Module:
    return fit(pretrained, data, META, seed=seed, epochs=40, lr=2e-2)


MODEL = ZooModel(
    name="digits-transfer",
    summary="mnist-cnn's trunk, frozen, with a new head for 8x8 digits, 10 classes",
    architecture=DigitsTransfer,
    data=digits,
    train=train,
    meta=META,
    source=f"{DIGITS_SOURCE}; the trunk: {MNIST_SOURCE}",
    recipe="only the head: AdamW, one-cycle to 2e-2, 40 epochs of 1,197 images, seed 0",
    limits=DIGITS_LIMITS,
)

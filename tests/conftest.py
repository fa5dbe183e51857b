"""Small subjects that many tests share. Nothing here is slow: a class is a linear rule on tiles."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from torch import nn

import audit
from audit.record import AuditRecord


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Before any fixture: what a test does not seed is the same in every run and order."""
    torch.manual_seed(0)
    np.random.seed(0)  # ART draws from the global generator


class TinyCNN(nn.Module):
    """A convolution that averages, and a linear layer that can be set by hand."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.act = nn.ReLU()
        self.head = nn.Linear(4 * 64, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.act(self.conv(x)).flatten(1))


def image_data(n: int = 240, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """8x8 images in [0, 1] whose class is the third of the picture that is bright."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    x = rng.uniform(0, 0.4, (n, 1, 8, 8)).astype(np.float32)
    for i, label in enumerate(y):
        x[i, 0, :, label * 8 // classes : (label + 1) * 8 // classes] += 0.5
    return x, y


def trained(model: nn.Module, x: np.ndarray, y: np.ndarray, steps: int = 120) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for module in model.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
        optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
        inputs, labels = torch.tensor(x), torch.tensor(y)
        for _ in range(steps):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(inputs), labels).backward()
            optimiser.step()
    return model.eval()


@pytest.fixture(scope="session")
def cnn() -> nn.Module:
    return trained(TinyCNN(), *image_data())


@pytest.fixture
def images(cnn: nn.Module) -> audit.Subject:
    x, y = image_data(seed=1)
    return audit.Subject(cnn, x, y, input={"range": (0, 1)})


def table_data(n: int = 600, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Four numeric columns; the label is the sign of the first two's sum."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4)).astype(np.float32)
    return x, (x[:, 0] + x[:, 1] > 0).astype(np.int64)


@pytest.fixture
def table() -> audit.Subject:
    x, y = table_data()
    model = nn.Linear(4, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[-2.0, -2, 0, 0], [2, 2, 0, 0]]))
        model.bias.zero_()
    return audit.Subject(model, x, y)


def made_once(
    factory: pytest.TempPathFactory, name: str, make: Callable[[], AuditRecord]
) -> AuditRecord:
    """A record that the first process to need it makes, and the others read."""
    folder = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # the workers'
    path = folder / f"{name}.json"
    with FileLock(f"{path}.lock"):
        if path.exists():
            return AuditRecord.load(path)
        record = make()
        record.save(path)
    assert AuditRecord.load(path) == record
    return record


@pytest.fixture(scope="session")
def digits_record(tmp_path_factory: pytest.TempPathFactory) -> AuditRecord:
    """A whole quick audit of a reference model."""
    return made_once(
        tmp_path_factory,
        "digits-cnn",
        lambda: audit.run(audit.load("zoo:digits-cnn"), profile="quick"),
    )


@pytest.fixture(scope="session")
def adult_record(tmp_path_factory: pytest.TempPathFactory) -> AuditRecord:
    return made_once(
        tmp_path_factory,
        "adult-mlp",
        lambda: audit.run(audit.load("zoo:adult-mlp"), profile="quick"),
    )


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


IN_CI = os.environ.get("CI") == "true"

"""Reference models: one file each (architecture, data, training), weights and data beside them.

A model arrives by the entry-point group `audit.zoo`, whose values name a `ZooModel`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from audit.data import Dataset
from audit.meta import SubjectMeta

DATA = Path(__file__).parent / "data"
WEIGHTS = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class ZooModel:
    """A reference model.

    Attributes:
        architecture: 'pkg.mod:Class', taking no arguments.
        train: seed → a trained model, the same for the same seed.
        data: () → (training data, evaluation data).
    """

    name: str
    summary: str
    architecture: type[nn.Module]
    data: Callable[[], tuple[Dataset, Dataset]]
    train: Callable[[int], nn.Module]
    meta: SubjectMeta
    source: str
    recipe: str
    limits: str

    @property
    def weights(self) -> Path:
        return WEIGHTS / f"{self.name}.safetensors"

    @property
    def arch(self) -> str:
        return f"{self.architecture.__module__}:{self.architecture.__qualname__}"

"""Reference models: one file each (architecture, training), weights and data beside them.

A model arrives by the entry-point group `audit.zoo`, whose values name a `ZooModel`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from audit.data import Dataset
from audit.meta import SubjectMeta

WEIGHTS = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class ZooModel:
    """A reference model, and its card.

    Attributes:
        architecture: 'pkg.mod:Class', taking no arguments.
        data: () → (training data, evaluation data).
        train: (seed, training data) → a trained model, the same for the same seed.
        fails: 'check metric' of the expectations of severity high or above that a quick audit of
            this model fails, and a standard one, of the checks that they ask; with any, the audit exits
            with 1.
        undecided: those that it leaves undecided beyond what they tolerate; with any, and none that
            fails, the audit exits with 3.
        quick_doubts: those of which a quick audit says that its own evidence is too weak, as an
            attack of twice the steps breaks more; a standard audit may doubt none.
    """

    name: str
    summary: str
    architecture: type[nn.Module]
    data: Callable[[], tuple[Dataset, Dataset]]
    train: Callable[[int, Dataset], nn.Module]
    meta: SubjectMeta
    source: str
    recipe: str
    limits: str
    fails: tuple[str, ...] = ()
    undecided: tuple[str, ...] = ()
    quick_doubts: tuple[str, ...] = ()

    @property
    def weights(self) -> Path:
        return WEIGHTS / f"{self.name}.safetensors"

    @property
    def arch(self) -> str:
        return f"{self.architecture.__module__}:{self.architecture.__qualname__}"

    @property
    def exit_code(self) -> int:
        return 1 if self.fails else 3 if self.undecided else 0

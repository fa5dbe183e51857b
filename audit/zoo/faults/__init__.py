"""Planted faults: what can be wrong with a model, planted in one of the zoo, beside a clean twin.

One file a fault, each holding a `FAULT`. `audit selftest` asks whether the check that must find it
does, and whether any check cries out over the clean twin; `benchmarks/detection.py` asks how strong
the fault must be.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from audit.subject import Subject


@dataclass(frozen=True)
class Fault:
    """Something wrong with a model.

    Attributes:
        name: its file's, with dashes.
        what: what is wrong, in a sentence.
        term: the literature's name for it.
        model: the reference model that it is planted in.
        plant: (dose, seed) → the subject. At `clean` it is the clean twin, made the same way.
        unit: what a dose counts.
        dose: the stated dose, at which the check must find it.
        doses: from clean to more than the stated one, for the dose–response curve.
        check, metric: the check that must fail, and the metric of the expectation that must.
        verdict: what no one check can say is asked of the whole audit: it must "fail", or, where
            "inconclusive", must not pass.
    """

    name: str
    what: str
    term: str
    model: str
    plant: Callable[[float, int], Subject]
    unit: str
    dose: float
    doses: tuple[float, ...]
    check: str = ""
    metric: str = ""
    verdict: Literal["fail", "inconclusive"] | None = None

    @property
    def clean(self) -> float:
        return self.doses[0]


@functools.cache
def faults() -> dict[str, Fault]:
    """All planted faults by name."""
    found = {}
    for module in pkgutil.iter_modules(__path__):
        fault = getattr(importlib.import_module(f"{__name__}.{module.name}"), "FAULT", None)
        if fault is not None:
            found[fault.name] = fault
    return found

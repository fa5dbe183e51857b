"""Variants of planted faults that no check was tuned on, one file a family; each file registers its own."""

from variants import answers, attacks, calibration, groups, inputs, samples, weights
from variants.making import NEIGHBOURS, Neighbour

__all__ = [
    "NEIGHBOURS",
    "Neighbour",
    "answers",
    "attacks",
    "calibration",
    "groups",
    "inputs",
    "samples",
    "weights",
]

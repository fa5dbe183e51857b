"""Attacks, one file a way to search.

What an adversary may do (`budgets`), what it works against (`goals`), and how it searches, one file a
way.

Pure functions of a model, samples and labels: `pgd(model, x, y, eps=8/255)` takes any callable and tensors.
"""

from __future__ import annotations

from audit.methods.attacks import (
    apgd,
    ascent,
    categories,
    hop_skip_jump,
    minimum_norm,
    patch,
    spatial,
    square,
    transfer,
    universal,
    unmasking,
    word_substitution,
)

__all__ = [
    "apgd",
    "ascent",
    "categories",
    "hop_skip_jump",
    "minimum_norm",
    "patch",
    "spatial",
    "square",
    "transfer",
    "universal",
    "unmasking",
    "word_substitution",
]

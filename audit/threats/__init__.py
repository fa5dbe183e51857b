"""Threats, as values: how much an adversary may change, by which attack, and in which cascade. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from audit.subject import Subject

# An L2 budget for the eps of every value: this share of the longest change that eps allows. It meets
# the field's habits: 0.4 on 3x32x32 pixels for 8/255, 1.4 on 28x28 for 0.2.
L2_SHARE = 0.25


def l2_eps(subject: Subject, eps: float) -> float:
    """The L2 budget that belongs to an Linf budget of `eps`."""
    return float(f"{L2_SHARE * eps * subject.inputs[0].numel() ** 0.5:.12g}")

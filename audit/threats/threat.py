"""How much an adversary may change, and how that is said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from audit.errors import NotApplicable
from audit.subject import Subject
from audit.words import number

Norm = Literal["linf", "l2"]
# An L2 budget for the eps of every value: this share of the longest change that eps allows. It meets
# the field's habits: 0.4 on 3x32x32 pixels for 8/255, 1.4 on 28x28 for 0.2.
L2_SHARE = 0.25


@dataclass(frozen=True)
class Threat:
    """How much an adversary may change.

    Attributes:
        size: of the change, in its own unit.
        told: 'Changing each pixel by at most 3 % of its range (eps 0.03)'.
        short: the same beside a bar, 'eps 0.03'.
        norm: that a small change of values is measured in; None: it is of another kind.
    """

    size: float
    told: str
    short: str
    norm: Norm | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        """What producers are told of a small change."""
        return {"eps": self.size} if self.norm == "linf" else {"eps": self.size, "norm": self.norm}


def small_change(subject: Subject, eps: float, norm: Norm = "linf") -> Threat:
    """A change of values within `eps`: of each (Linf), or of all together (L2)."""
    return Threat(eps, subject.kind.change(subject, eps, norm), f"eps {number(eps)}", norm)


def default_eps(subject: Subject, norm: Norm = "linf") -> float:
    """How much must not matter: as `[subject.input] eps` says, else what is usual for the kind of inputs."""
    eps = subject.meta.input.eps
    if eps is None:
        eps = subject.kind.default_eps(subject)
    return eps if norm == "linf" else l2_eps(subject, eps)


def l2_eps(subject: Subject, eps: float) -> float:
    """The L2 budget that belongs to an Linf budget of `eps`."""
    return float(f"{L2_SHARE * eps * subject.kind.movable(subject) ** 0.5:.12g}")


def require_small_change(subject: Subject, eps: float | None, norm: Norm = "linf") -> None:
    """Raise NotApplicable where no value can be changed within `eps` (the default where None).

    Or no answer be judged.
    """
    subject.require("judged")
    subject.require_continuous_inputs()
    if norm == "l2" and not subject.kind.common_unit:
        raise NotApplicable(
            f"the values of {subject.kind.noun} have no common length; each has its own eps"
        )
    subject.kind.require_movable(subject, default_eps(subject, norm) if eps is None else eps)

"""How much robustness against changes of all values together is proven?

As `robustness.certified`, under the L2 budget of `robustness.worst_case_l2`: the first layer by its rows'
lengths, what is bounded linearly by the length of its bound, all else by intervals.
"""

from __future__ import annotations

from typing import ClassVar

from audit.checks.robustness.certified import Certified
from audit.checks.robustness.worst_case import WorstCase
from audit.checks.robustness.worst_case_l2 import WorstCaseL2


class CertifiedL2(Certified):
    """How much robustness against changes of all values together is proven?"""

    id: ClassVar[str] = "robustness.certified_l2"
    title: ClassVar[str] = "How much robustness against changes of all values together is proven?"
    attack_class: ClassVar[type[WorstCase]] = WorstCaseL2

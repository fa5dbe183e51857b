"""What is held against an attack: paired tests at the level that they state."""

import numpy as np
import pytest

from audit.checks.robustness.fair_attack import fewer_left


@pytest.mark.parametrize(
    ("lost", "gained", "passed"),
    [
        (5, 0, True),  # two-sided p = .063
        (6, 0, False),  # p = .031
        (12, 3, False),  # p = .035: none of these is as rare as one in a thousand
        (11, 3, True),  # p = .057
        (0, 20, True),
    ],
)
def test_another_attack_that_breaks_more_is_doubted_at_one_in_twenty(lost, gained, passed):
    ours, other = np.zeros(100, bool), np.zeros(100, bool)
    ours[:lost], other[lost : lost + gained] = True, True  # left standing by the one alone
    found = fewer_left("black-box no better", "a search", ours, other)
    assert found.passed is passed
    assert f"breaks {lost} that" in found.detail

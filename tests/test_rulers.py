"""The intervals are straight: a short run of the benchmark, and what its full run has published."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from audit import statistics

FOLDER = Path(__file__).parent.parent / "benchmarks"
SPEC = importlib.util.spec_from_file_location("rulers", FOLDER / "statistics.py")
RULERS = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(RULERS)
KINDS = dict(RULERS.kinds())
DRAWS = 30
MISSES = int(stats.binom.ppf(0.9999, DRAWS, 0.08))
PUBLISHED = (FOLDER / "statistics.md").read_text()


@pytest.mark.parametrize("kind", [k for k in KINDS if "n = 2000" not in k and "bootstrap" not in k])
def test_an_interval_covers(kind):
    rng = np.random.default_rng(5)
    drawn = [KINDS[kind](rng) for _ in range(DRAWS)]
    missed = sum(not m.low - 1e-9 <= truth <= m.high + 1e-9 for m, truth in drawn)
    assert missed <= MISSES, missed


def test_every_interval_is_in_the_benchmark():
    source = (FOLDER / "statistics.py").read_text()
    apart = {
        "LEVEL",
        "QUANTILES",
        "binned_calibration_error",
        "calibration_bins",
        "census",
        "corrected_level",
        "decidable",
        "effective_n",
        "interval",
        "mcnemar",
        "tango",
        "undefined",
        "wilson",
    }
    for name in set(statistics.__all__) - apart:
        assert f"statistics.{name}(" in source, name


def rows(title):
    part = PUBLISHED.split(f"## {title}")[1].split("\n## ")[0]
    found = re.findall(r"^\| (.+) \|$", part, re.M)[1:]
    return [re.split(r"\s*\|\s*", row) for row in found]


def test_what_is_published_covers_but_for_what_is_named():
    named = PUBLISHED.split("## Exceptions")[1]
    covered = {row[0]: float(row[1]) for row in rows("Coverage")}
    assert set(covered) == set(KINDS)
    for kind, share in covered.items():
        assert share >= 0.93 or kind in named, (kind, share)


def test_published_power_is_within_five_points_of_the_textbooks_but_for_what_is_named():
    named = PUBLISHED.split("## Exceptions")[1]
    for what, ours, textbook in rows("Power"):
        assert float(ours) >= float(textbook) - 0.05 or what in named, what


def test_no_published_false_alarm_is_above_six_percent():
    for what, _, share in rows("False alarms"):
        assert float(share) <= 0.065, what

"""Intervals, paired tests and multiplicity. Every function that makes an interval says which.

numpy and scipy only: records are judged again where no torch is installed.
"""

from audit.statistics.between import gap_between, gap_between_means, ratio_between
from audit.statistics.bins import binned_calibration_error, calibration_bins
from audit.statistics.calibration import calibration_error, calibration_test
from audit.statistics.intervals import (
    LEVEL,
    QUANTILES,
    census,
    corrected_level,
    decidable,
    effective_n,
    interval,
    tango,
    undefined,
    wilson,
)
from audit.statistics.means import difference, mean, proportion
from audit.statistics.paired import mcnemar
from audit.statistics.ranks import auroc
from audit.statistics.resampling import bootstrap, jackknife
from audit.statistics.verification import verification

__all__ = [
    "LEVEL",
    "QUANTILES",
    "auroc",
    "binned_calibration_error",
    "bootstrap",
    "calibration_bins",
    "calibration_error",
    "calibration_test",
    "census",
    "corrected_level",
    "decidable",
    "difference",
    "effective_n",
    "gap_between",
    "gap_between_means",
    "interval",
    "jackknife",
    "mcnemar",
    "mean",
    "proportion",
    "ratio_between",
    "tango",
    "undefined",
    "verification",
    "wilson",
]

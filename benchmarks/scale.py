"""What does each check cost at the width that people bring?

1,000 classes; 50,000 words; tables of 10,000 columns; pictures of 224 x 224; 200 groups of people;
series of 1,024 steps; all on a small random network, so that what is measured is the check. Printed of
each check: seconds, megabytes beyond what the process held before, passes and how many were declared,
how often evidence was asked for, and kilobytes in the record. More than 2 GB, or 1.5 times the declared
passes, is marked.

    python benchmarks/scale.py [WIDTH]... [--profile quick] [--check robustness.* ...]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import resource
import warnings
from fnmatch import fnmatchcase

from audit.registry import registry
from audit.testing import OVERRUN, WIDE, spent, wide_subject

MEGABYTES = 2048


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("widths", nargs="*", default=WIDE, metavar="WIDTH")
    parser.add_argument("--profile", default="quick")
    parser.add_argument("--check", nargs="*", default=["*"])
    parser.add_argument("--limit", type=float, default=8.0, help="gigabytes that a check may map")
    parser.add_argument("--seconds", type=float, default=120.0, help="that a check may take")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    most = int(asked.limit * (1 << 30))
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    print(f"{'':<45} {'s':>7} {'MB':>6} {'passes':>9} {'declared':>9} {'asked':>5} {'kB':>6}")
    for what in asked.widths:
        subject = wide_subject(what)
        for check in sorted(registry().checks):
            if not any(fnmatchcase(check, pattern) for pattern in asked.check):
                continue
            took = spent(check, subject, asked.profile, asked.seconds)
            line = f"{what:<8} {check:<36}"
            if took.told:
                print(f"{line} {took.told[:90]}", flush=True)
                continue
            over = took.megabytes > MEGABYTES or took.passes > OVERRUN * took.declared
            print(
                f"{line} {took.seconds:>7.1f} {took.megabytes:>6.0f} {took.passes:>9,} "
                f"{took.declared:>9,} {took.asked:>5} {took.size / 1000:>6.0f}{'  <-- over' if over else ''}",
                flush=True,
            )


if __name__ == "__main__":
    main()

"""`quick` is for every push: what searches, samples or explains asks little of the model, and costs what
it says.
"""

import importlib.util
import os
import sys
from pathlib import Path

import pytest

from audit.plan import plan
from audit.pricing import cost_of, rows_of
from audit.testing import OVERRUN, WIDE, wide_subject

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "passes.py"
WHOLE = os.environ.get("CONTRACT") == "all"
MOST = 300  # passes over 200 samples, forward or backward
SLOW = "resnet18-64px"  # four minutes
# What stops at what has fallen declares what a model that stands would take.
STOPPING = (
    "robustness.black_box",
    "robustness.fgsm",
    "robustness.patch",
    "robustness.spatial",
    "robustness.substitutions",
    "robustness.typos",
    "robustness.worst_case",
)


def loaded():
    spec = importlib.util.spec_from_file_location("passes", BENCHMARK)
    module = importlib.util.module_from_spec(spec)
    sys.modules["passes"] = module
    spec.loader.exec_module(module)
    return module


passes = loaded()


@pytest.mark.parametrize("name", passes.SUBJECTS)
def test_a_quick_audit_asks_little_and_no_more_than_it_says(name):
    if name == SLOW and not WHOLE:
        pytest.skip("make contract")
    found = {
        check: cost
        for check, cost in passes.counted(passes.subject_of(name)).items()
        if not passes.every_row(check)
    }
    assert sum(c.passes for c in found.values()) <= MOST, {c: f.passes for c, f in found.items()}
    for check, c in found.items():
        made = c.forward + c.backward
        if c.measured and made > passes.ROWS:  # less is not worth declaring
            assert made <= OVERRUN * c.declared, (check, made, c.declared)
            if not check.startswith(STOPPING):
                assert c.declared <= OVERRUN * made, (check, made, c.declared)


@pytest.mark.parametrize("what", WIDE)
def test_however_wide_a_quick_audit_declares_as_little(what):
    subject = wide_subject(what)
    planned = plan(subject, profile="quick")
    rows = rows_of(planned, [cost_of(item, subject) for item in planned])
    ours = {
        item.check.id: n
        for item, n in zip(planned, rows, strict=True)
        if not passes.every_row(item.check.id)
    }
    assert sum(ours.values()) <= MOST * passes.ROWS, ours

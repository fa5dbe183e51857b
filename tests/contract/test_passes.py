"""`quick` is for every push: what searches, samples or explains asks little of the model, and costs what
it says.
"""

import importlib.util
import sys
from pathlib import Path

import pytest

PASSES = Path(__file__).parents[2] / "benchmarks" / "passes.py"
ATTACKS = (
    "robustness.worst_case", "robustness.pgd", "robustness.fgsm", "robustness.black_box",
    "robustness.patch", "robustness.spatial", "robustness.gradient_masking",
)  # fmt: skip
CERTIFICATES = ("robustness.certified",)  # whose work is bounds, and no rows


@pytest.fixture(scope="module")
def passes():
    spec = importlib.util.spec_from_file_location("passes", PASSES)
    module = importlib.util.module_from_spec(spec)
    sys.modules["passes"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["passes"]


# Passes of 200 samples, of all but the attacks (and what bounds them); they may only fall.
@pytest.mark.parametrize(("kind", "most"), [("images", 170), ("table", 100)])
def test_a_quick_audit_asks_little_and_says_how_much(kind, most, request, passes):
    found = passes.counted(request.getfixturevalue(kind))
    ours = {
        check: c
        for check, c in found.items()
        if not passes.every_row(check) and not check.startswith(ATTACKS + CERTIFICATES)
    }
    assert sum(c.passes for c in ours.values()) <= most, {c: f.passes for c, f in ours.items()}
    for check, c in ours.items():
        made = c.forward + c.backward
        if c.measured and made > passes.ROWS:  # less is not worth declaring
            assert c.declared / 1.5 <= made <= 1.5 * c.declared, (check, made, c.declared)

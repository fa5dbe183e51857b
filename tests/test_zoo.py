"""Reference models: what ships can be made again, and their audits end in 0 or 1."""

import subprocess
import sys
from pathlib import Path

import pytest

import audit
from audit.entrypoints import zoo

NAMES = ["adult-mlp", "digits-cnn", "vowels-lstm"]


def test_all_are_found():
    assert set(NAMES) <= set(zoo())


@pytest.mark.parametrize("name", NAMES)
def test_training_again_performs_as_what_ships(name, tmp_path):
    entry = zoo()[name].load()
    subprocess.run(
        [sys.executable, "-m", "audit.zoo.train", name, "--out", tmp_path / "w.safetensors"],
        check=True, capture_output=True,
    )  # fmt: skip
    made = audit.load(tmp_path / "w.safetensors", data=None, arch=entry.arch, weights_only=True)
    shipped = audit.load(f"zoo:{name}")
    test = entry.data()[1]
    again = audit.Subject(made.core, test.x, test.y, meta=entry.meta)
    check = audit.check("performance.classification")
    a, b = (check.measure(s).metric("accuracy") for s in (shipped, again))
    assert abs(a.value - b.value) <= 0.02
    assert a.value >= {"adult-mlp": 0.84, "digits-cnn": 0.97, "vowels-lstm": 0.94}[name]


@pytest.mark.parametrize("name", NAMES)
def test_default_audit_ends_in_pass_or_fail(name):
    record = audit.run(audit.load(f"zoo:{name}"))
    assert record.verdict.exit_code in (0, 1), record.verdict.reason
    assert record.verdict.counts["error"] == record.verdict.counts["inconclusive"] == 0


def test_weights_and_data_stay_small():
    folder = Path(audit.__path__[0], "zoo")
    assert sum(p.stat().st_size for d in ("data", "weights") for p in (folder / d).iterdir()) < 5e6


def test_the_zoo_file_names_its_architecture_and_needs_no_flag(here):
    entry = zoo()["digits-cnn"].load()
    artifact = audit.load(entry.weights, weights_only=True)
    assert type(artifact.core).__name__ == "DigitsCNN"

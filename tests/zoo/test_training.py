"""Reference models: what ships can be made again from the bundled data."""

import subprocess
import sys
from pathlib import Path

import pytest

import audit
from audit.cli import measured_quality
from audit.entrypoints import zoo

# Trained again here; the others take longer and are made by the same loop.
AGAIN = [
    "adult-mlp",
    "crime-regression",
    "digits-cnn",
    "digits-transfer",
    "shuttle-autoencoder",
    "vowels-lstm",
]


@pytest.mark.parametrize("name", AGAIN)
def test_training_again_performs_as_what_ships(name, tmp_path):
    entry = zoo()[name].load()
    subprocess.run(
        [sys.executable, "-m", "audit.zoo.train", name, "--out", tmp_path / "w.safetensors"],
        check=True,
        capture_output=True,
    )
    made = audit.load(tmp_path / "w.safetensors", data=None, arch=entry.arch, weights_only=True)
    train, test = entry.data()
    again = audit.Subject(made.core, test.x, test.y, train=(train.x, train.y), meta=entry.meta)
    assert (
        abs(measured_quality(audit.load(f"zoo:{name}")).value - measured_quality(again).value)
        <= 0.02
    )


def test_weights_and_data_stay_small():
    folder = Path(audit.__path__[0], "zoo")
    assert sum(p.stat().st_size for d in ("data", "weights") for p in (folder / d).iterdir()) < 25e6


def test_the_zoo_file_names_its_architecture_and_needs_no_flag(here):
    entry = zoo()["digits-cnn"].load()
    artifact = audit.load(entry.weights, weights_only=True)
    assert type(artifact.core).__name__ == "DigitsCNN"

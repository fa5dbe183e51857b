"""Whoever starts the workers, the record is the one that a single process makes."""

import os
import stat

import pytest

from audit.cli import main

from .driving import driven
from .test_workers import COMMAND, lay_out, without_clock

FEW = [a for name in ("performance", "calibration", "robustness.pgd") for a in ("--check", name)]
# Stands in for Slurm: runs the tasks of an array at once, as `sbatch --wait` does on a cluster.
SBATCH = """#!/bin/bash
for argument; do case $argument in
  --array=1-*) n=${argument#--array=1-};;
  --wrap=*) line=${argument#--wrap=};;
  --chdir=*) cd "${argument#--chdir=}";;
  --output=*) said=${argument#--output=};;
esac; done
echo 17
for i in $(seq $n); do
  SLURM_ARRAY_TASK_ID=$i bash -c "$line" > "${said/\\%A_\\%a/17_$i}" 2>&1 & done
wait
"""


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Executor → what came of one audit."""
    root = tmp_path_factory.mktemp("executors")
    commands = {}
    for name in ("local", "slurm", "ray"):
        folder = root / name
        folder.mkdir()
        lay_out(folder, run="workers = 2")
        commands[name] = (folder, [*COMMAND, *FEW, "--executor", name], "")
    tool = root / "bin/sbatch"
    tool.parent.mkdir()
    tool.write_text(SBATCH)
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    before = f"os.environ['PATH'] = {str(tool.parent)!r} + os.pathsep + os.environ['PATH']"
    commands["slurm"] = (*commands["slurm"][:2], before)
    try:
        import ray  # noqa: F401
    except ImportError:
        del commands["ray"]
    return dict(zip(commands, driven(list(commands.values())), strict=True)), root


@pytest.mark.parametrize("executor", ["slurm", "ray"])
def test_the_record_does_not_depend_on_who_starts_the_workers(records, executor):
    found, _ = records
    if executor not in found:
        pytest.skip("Ray is not installed")
    code, said, record = found[executor]
    assert record is not None, said
    assert code == found["local"][0]
    assert without_clock(record) == without_clock(found["local"][2])
    assert record["environment"]["process"] == "pieces"


def test_what_a_slurm_task_says_lies_beside_the_manifest(records):
    _, root = records
    said = sorted((root / "slurm/audit-report").glob("slurm-17_*.out"))
    assert len(said) == 2
    assert all("pieces answered" in path.read_text() for path in said)


def test_without_slurm_or_without_ray_is_one_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(lay_out(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    for name, words in (("slurm", "there is no sbatch here"), ("ray", "pip install")):
        assert main([*COMMAND, "--check", "performance.*", "--executor", name]) == 2
        said = capsys.readouterr().err
        assert words in said
        assert said.count("\n") == 1
    assert os.path.exists("audit-report/manifest.json")

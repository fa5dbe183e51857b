"""The examples run: the notebook from top to bottom, the plug-in installed as a user would."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_the_notebook_runs_and_shows_itself(tmp_path):
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(EXAMPLES / "notebook.ipynb", as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [
        output["data"]["text/html"]
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if "text/html" in output.get("data", {})
    ]
    assert len(shown) == 2
    assert "<svg" in shown[0]
    assert "robustness.pgd" in shown[1]


@pytest.fixture
def with_plugin(tmp_path):
    """An environment that has the plug-in beside what this one has."""
    source = shutil.copytree(EXAMPLES / "plugin", tmp_path / "source")
    site = tmp_path / "site"

    def install(broken=""):
        if broken:
            file = source / "audit_example" / "confidence_floor.py"
            file.write_text(file.read_text() + broken)
        subprocess.run(
            [
                sys.executable,
                "-m",
                "pip",
                "install",
                "--quiet",
                "--no-deps",
                "--no-build-isolation",
                "--target",
                site,
                source,
            ],
            check=True,
            capture_output=True,
        )
        environment = {**os.environ, "PYTHONPATH": str(site)}

        def audit(*arguments):
            return subprocess.run(
                [sys.executable, "-m", "audit", *arguments],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )

        audit.environment = environment
        return audit

    return install


RUN = ("run", "zoo:digits-cnn", "--check", "custom.*", "--check", "performance.*")


def test_a_plugin_adds_a_check_by_entry_point(with_plugin, tmp_path):
    audit = with_plugin()
    assert "custom.confidence_floor" in audit("checks").stdout
    assert "floor = 0.5" in audit("explain", "custom.confidence_floor").stdout
    found = audit(*RUN)
    assert found.returncode == 0, found.stderr
    record = json.loads((tmp_path / "audit-report" / "record.json").read_text())
    check = next(c for c in record["checks"] if c["id"] == "custom.confidence_floor")
    assert check["state"] == "met"
    assert (
        len((EXAMPLES / "plugin/audit_example/confidence_floor.py").read_text().splitlines()) <= 36
    )


NEW_ROOMS = """
from audit.registry import registry
from audit.testing import check_contract, tiny_subject

for kind, task in (("spectrum", "binary"), ("tabular", "ordinal"), ("spectrum", "ordinal")):
    for check in ("behaviour.determinism", "behaviour.input_scale", "calibration.reliability",
                  "deployment.quantisation", "fairness.groups", "generalisation.gap", "imbalance.classes",
                  "interpretability.integrated_gradients", "interpretability.lime", "robustness.noise",
                  "robustness.pgd", "performance.classification", "custom.confidence_floor"):
        assert check_contract(check, tiny_subject(kind, task)).measured, (kind, task, check)
"""


def test_a_plugin_adds_a_task_and_an_input_kind_and_checks_measure_them_unedited(
    with_plugin, tmp_path
):
    audit = with_plugin()
    done = subprocess.run(
        [sys.executable, "-c", NEW_ROOMS],
        cwd=tmp_path,
        env=audit.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_plugin_that_raises_is_exit_3_and_the_report_says_so(with_plugin, tmp_path):
    audit = with_plugin("\n    def measure(self, subject):\n        raise ValueError('no luck')\n")
    found = audit(*RUN)
    assert found.returncode == 3
    assert "ValueError: no luck" in found.stdout
    assert "ValueError: no luck" in (tmp_path / "audit-report" / "report.html").read_text()


def test_a_plugin_that_cannot_be_imported_is_named(with_plugin, tmp_path):
    audit = with_plugin("\nimport nothing_of_that_name\n")
    assert "confidence-floor could not be imported" in audit("checks").stderr
    found = audit("run", "zoo:digits-cnn", "--check", "performance.*")
    assert found.returncode == 3
    assert "nothing_of_that_name" in (tmp_path / "audit-report" / "report.html").read_text()


def test_two_checks_with_one_id_are_exit_2(with_plugin):
    audit = with_plugin("\nConfidenceFloor.id = 'robustness.pgd'\n")
    found = audit("checks")
    assert found.returncode == 2
    assert "Two checks have the id robustness.pgd" in found.stderr


def test_the_example_config_is_valid():
    from audit.config import read_config

    assert read_config(EXAMPLES / "ci" / "audit.toml").waive[0].owner == "Ada Lovelace"

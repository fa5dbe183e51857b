"""What is told of the checks without importing them is what their code says."""

import json
import subprocess
import sys

import pytest

from audit.cli import main
from audit.describing import entry_of, manifest_of, place_of
from audit.errors import AuditError
from audit.manifest import AREAS, manifest, read
from audit.registry import registry

CHECK = """'''How odd are the answers?

By counting.
'''
from typing import ClassVar
from audit import Check, Measurement

class Odd(Check):
    id: ClassVar[str] = "custom.odd"
    title: ClassVar[str] = "How odd are the answers?"
    profiles: ClassVar = {"quick": {"samples": 3}}
    samples: int = 9

    def applies(self, subject):
        subject.require("decides", labels=False)
        subject.require_gradients()

    def examine(self, context):
        return Measurement(answer="odd")
"""


@pytest.fixture
def plug_in(tmp_path, monkeypatch):
    """A package with a check and an entry point, as installed."""
    package = tmp_path / "odd_checks"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "odd.py").write_text(CHECK)
    known = tmp_path / "odd_checks-1.dist-info"
    known.mkdir()
    (known / "METADATA").write_text("Metadata-Version: 2.1\nName: odd-checks\nVersion: 1\n")
    (known / "entry_points.txt").write_text("[audit.checks]\nodd = odd_checks\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield package
    for name in [n for n in sys.modules if n.split(".")[0] == "odd_checks"]:
        del sys.modules[name]


def test_the_manifest_of_our_checks_is_up_to_date():
    """`make manifest` writes it anew."""
    assert place_of("audit.checks").read_text() == manifest_of("audit.checks")


def test_every_check_is_told_of_as_its_class_says():
    told, classes = manifest().checks, registry().checks
    assert set(told) == set(classes)
    for check_id, cls in classes.items():
        assert told[check_id] == entry_of(cls)
        assert told[check_id].area in AREAS


def test_what_a_check_needs_is_read_off_its_code():
    checks = manifest().checks
    assert checks["calibration.reliability"].needs == ["classifies", "data", "labels"]
    assert checks["interpretability.lime"].needs == ["continuous_inputs", "data", "judged"]
    assert checks["training.weights"].needs == []


def test_a_package_without_a_manifest_is_imported(plug_in):
    told = manifest().checks["custom.odd"]
    assert "odd_checks.odd" in sys.modules
    assert told.needs == ["data", "decides", "gradients"]
    assert told.explanation.endswith("By counting.")
    assert told.parameters[0].defaults == {"quick": 3, "standard": 9, "deep": 9}


def test_a_package_with_a_manifest_is_not_imported(plug_in, capsys):
    place_of("odd_checks").write_text(manifest_of("odd_checks"))
    for name in [n for n in sys.modules if n.split(".")[0] == "odd_checks"]:
        del sys.modules[name]
    (plug_in / "odd.py").write_text("raise RuntimeError('imported')")
    assert main(["checks", "custom"]) == 0
    assert "How odd are the answers?" in capsys.readouterr().out
    assert main(["explain", "custom.odd"]) == 0
    assert "samples = quick 3, standard 9, deep 9" in capsys.readouterr().out
    assert "odd_checks" not in sys.modules


@pytest.mark.parametrize("text", ["", "[]", '{"checks": [{}]}', '{"checks": [{"id": "x"}]}'])
def test_a_manifest_that_cannot_be_read_is_as_none(plug_in, text):
    (plug_in / "manifest.json").write_text(text)
    assert manifest().checks["custom.odd"].title == "How odd are the answers?"


def test_a_plug_in_that_cannot_be_imported_is_named(plug_in):
    (plug_in / "odd.py").write_text("raise RuntimeError('not today')")
    found = manifest()
    assert found.broken == {"odd": "RuntimeError: not today"}
    assert "custom.odd" not in found.checks


def test_two_checks_with_one_id_are_a_mistake(plug_in):
    (plug_in / "odd.py").write_text(CHECK.replace("custom.odd", "robustness.pgd"))
    with pytest.raises(AuditError, match=r"Two checks have the id robustness\.pgd"):
        manifest()


def test_what_is_written_reads_back(plug_in):
    (entry,) = read(manifest_of("odd_checks"))
    assert entry.found_at == "odd_checks.odd:Odd"
    assert json.loads(manifest_of("odd_checks"))["checks"][0]["parameters"][0]["name"] == "samples"


@pytest.mark.parametrize("command", [["--help"], ["checks"], ["explain", "robustness.pgd"]])
def test_what_is_told_of_the_checks_imports_neither_them_nor_numpy(command):
    code = (
        "import sys\nfrom audit.cli import main\n"
        f"try:\n    main({command!r})\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'numpy', 'pydantic', 'altair', 'audit.checks', 'audit.checking'}\n"
        "sys.exit(','.join(heavy & set(sys.modules)) or 0)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr

"""An audit in pieces makes the record that one process makes."""

import json
import shutil

import pytest

from audit.capture import Answers, Manifest, selected
from audit.cli import main
from audit.errors import AuditError

from .driving import driven
from .test_workers import COMMAND, lay_out, without_clock

PLAN = ["plan", *COMMAND[1:]]
MANIFEST = "audit-report/manifest.json"
WORK, COLLECT = ["work", MANIFEST, "--select"], ["collect", MANIFEST]


@pytest.fixture(scope="module")
def pieces(tmp_path_factory):
    """What came of the same audit whole and in two shares, and the folder of the latter."""
    root = tmp_path_factory.mktemp("pieces")
    whole, parts = root / "whole", root / "parts"
    for folder in (whole, parts):
        folder.mkdir()
        lay_out(folder)
    done = driven(
        [
            (whole, COMMAND),
            (parts, PLAN),
            (parts, [*WORK, "2/2"]),
            (parts, COLLECT),
            (parts, [*WORK, "1/2"]),
            (parts, [*WORK, "1/2"]),
            (parts, COLLECT),
        ]
    )
    return done, parts


def test_the_record_is_the_same(pieces):
    done, _ = pieces
    codes = [code for code, *_ in done]
    assert codes == [codes[0], 0, 0, 2, 0, 0, codes[0]]
    assert without_clock(done[0][2]) == without_clock(done[-1][2])
    evidence = [done[0][2]["timing"]["evidence"], done[-1][2]["timing"]["evidence"]]
    assert evidence[0] == evidence[1]


@pytest.fixture
def again(pieces, tmp_path, monkeypatch):
    """The same pieces, to be spoilt."""
    shutil.copytree(pieces[1], tmp_path / "parts")
    monkeypatch.chdir(tmp_path / "parts")
    return Manifest.read(tmp_path / "parts" / MANIFEST)


def test_a_damaged_answer_is_none(again, tmp_path, capsys):
    answers = Answers(again, tmp_path / "parts/audit-report")
    first = again.asked()[0]
    path = answers.path(first)
    path.write_text(path.read_text().replace('"seconds"', '"second"'))
    assert main(COLLECT) == 2
    said = capsys.readouterr().err
    assert "1 piece of" in said
    assert again.agenda.pieces[first].record.id in said


def test_answers_to_another_plan_are_none(again, tmp_path):
    other = again.model_copy(update={"model": "other.pt"})
    assert Answers(again, tmp_path / "parts/audit-report").read(again.asked()[0]) is not None
    assert Answers(other, tmp_path / "parts/audit-report").read(again.asked()[0]) is None


def test_of_another_model_nothing_is_answered(again, tmp_path, capsys):
    lay_out(tmp_path / "parts", bias=1.0)
    shutil.rmtree("audit-report/answers")
    assert main([*WORK, "1/1"]) == 2
    assert "The model changed since the audit was planned" in capsys.readouterr().err


def test_shares_are_all_and_do_not_overlap():
    numbers = list(range(3, 20))
    shares = [selected(f"{i}/4", numbers) for i in range(1, 5)]
    assert sorted(n for share in shares for n in share) == numbers
    for bad in ("0/4", "5/4", "4", "a/b", "1/0"):
        with pytest.raises(AuditError, match="--select"):
            selected(bad, numbers)


@pytest.mark.parametrize("text", [None, "{", json.dumps({"version": 1})])
def test_what_is_no_manifest_is_one_sentence(text, tmp_path, capsys):
    path = tmp_path / "manifest.json"
    if text is not None:
        path.write_text(text)
    assert main(["work", str(path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1

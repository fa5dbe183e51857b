"""What spreadsheets and code hosts are given: every number, and every finding once."""

import csv
import io
import json

import pytest

from audit.cli import main
from audit.entrypoints import reporter
from audit.judge import Policy, judge
from audit.judge.policy import Waiver
from audit.reports.metrics import inert

LEVELS = {"error", "warning", "note"}


def test_a_table_has_every_metric_with_its_bound(adult_record):
    rows = list(csv.DictReader(io.StringIO(reporter("csv").render(adult_record))))
    measured = {(c.id, m.name) for c in adult_record.checks for m in c.metrics}
    assert {(row["check"], row["metric"]) for row in rows} >= measured
    (gain,) = (row for row in rows if row["metric"] == "gain_over_constant")
    assert (float(gain["bound"]), gain["state"]) == (0.0, "met")


def test_no_cell_is_a_formula(adult_record):
    for text in ("=1+1", "+1", "-1", "@SUM(A1)"):
        assert inert(text) == f"'{text}"
    hostile = adult_record.model_copy(deep=True)
    metric = next(m for c in hostile.checks for m in c.metrics)
    metric.slice = {"class": "=HYPERLINK(1)"}
    rows = csv.reader(io.StringIO(reporter("csv").render(hostile)))
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "@"))]


def test_a_code_host_sees_every_finding_once_and_knows_it_again(adult_record):
    log = json.loads(reporter("sarif").render(adult_record))
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    rules, results = run["tool"]["driver"]["rules"], run["results"]
    assert len({r["id"] for r in rules}) == len(rules)
    assert [r["partialFingerprints"]["finding/v1"] for r in results] == [
        f.fingerprint for f in adult_record.findings
    ]
    for found, finding in zip(results, adult_record.findings, strict=True):
        assert rules[found["ruleIndex"]]["id"] == found["ruleId"]
        assert found["level"] in LEVELS
        assert (found["level"] == "error") == (finding.gates and finding.state == "failed")
        assert found["message"]["text"]
        assert found["locations"][0]["physicalLocation"]["region"]["startLine"] >= 1
    for text in (t for r in rules for t in (r["fullDescription"]["text"], r["help"]["text"])):
        assert text
    issues = json.loads(reporter("gitlab").render(adult_record))
    assert [i["fingerprint"] for i in issues] == [f.fingerprint for f in adult_record.findings]
    assert {i["severity"] for i in issues} <= {"info", "minor", "major", "critical", "blocker"}
    assert not [i for i in issues if "?." in i["description"] or ".." in i["description"]]


def test_what_is_waived_is_suppressed_with_the_reason_and_no_issue(adult_record):
    first = adult_record.findings[0]
    waiver = Waiver(cause=first.cause, owner="Ada", reason="known", expires="2027-03-01")
    again = judge(adult_record.model_copy(deep=True), Policy(waive=[waiver]))
    results = json.loads(reporter("sarif").render(again))["runs"][0]["results"]
    suppressed = [r for r in results if "suppressions" in r]
    assert [r["ruleId"] for r in suppressed] == [first.cause]
    assert "known" in suppressed[0]["suppressions"][0]["justification"]
    issues = json.loads(reporter("gitlab").render(again))
    assert first.fingerprint not in {i["fingerprint"] for i in issues}


@pytest.mark.parametrize("broken", [False, True])
def test_run_writes_what_is_asked_for_and_loses_nothing_where_it_cannot(
    tmp_path, monkeypatch, capsys, broken
):
    monkeypatch.chdir(tmp_path)
    if broken:
        import audit.reports.sarif as sarif

        monkeypatch.setattr(sarif, "render", lambda record: 1 / 0)
    command = ["run", "zoo:german-credit-mlp", "--profile", "quick", "--check", "training.*"]
    code = main([*command, "--format", "sarif", "--format", "csv"])
    report = tmp_path / "audit-report"
    assert code == json.loads((report / "record.json").read_text())["verdict"]["exit_code"]
    assert (report / "metrics.csv").exists()
    assert (report / "audit.sarif").exists() is not broken
    assert ("audit.sarif could not be written" in capsys.readouterr().err) is broken

"""The record: schema, round trip, and what a figure may not hold."""

import json

import jsonschema
import pytest

from audit.errors import AuditError
from audit.outcomes import pack, unpack
from audit.record import SCHEMA_FILE, AuditRecord, Figure, json_schema, validate


def test_shipped_schema_is_the_records():
    assert json.loads(SCHEMA_FILE.read_text()) == json_schema()


def test_round_trip_and_validation(digits_record, tmp_path):
    path = digits_record.save(tmp_path / "r.json")
    again = AuditRecord.load(path)
    assert again == digits_record
    assert again.digest() == digits_record.digest()
    document = json.loads(path.read_text())
    assert set(document) == {
        "schema_version",
        "verdict",
        "subject",
        "samples",
        "left_out",
        "policy",
        "plan",
        "report",
        "compared",
        "findings",
        "checks",
        "timing",
        "environment",
    }
    next(c for c in document["checks"] if c["metrics"])["metrics"][0]["extra"] = 1
    with pytest.raises(jsonschema.ValidationError):
        validate(document)


@pytest.mark.parametrize(
    "spec",
    [
        {"data": {"url": "x.csv"}},
        {"layer": [{"mark": "image", "encoding": {"href": {"value": "x"}}}]},
        {"data": {"values": [{}] * 2001}},
        {"$schema": "https://x"},
    ],
)
def test_figures_hold_inline_values_only(spec, digits_record):
    with pytest.raises(ValueError, match="figure may"):
        Figure(title="t", caption="c", spec=spec)
    document = json.loads(digits_record.to_json())
    document["checks"][0]["figures"] = [{"title": "t", "caption": "c", "spec": spec}]
    with pytest.raises(jsonschema.ValidationError):
        validate(document)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("{}", "schema version None"),
        ('{"schema_version": 9}', "version 9"),
        ('{"schema_version": 1}', "does not fit"),
        ("[]", "schema version None"),
    ],
)
def test_bad_records_get_a_sentence(tmp_path, text, message):
    path = tmp_path / "r.json"
    path.write_text(text)
    with pytest.raises(AuditError, match=message):
        AuditRecord.load(path)


def test_every_metric_carries_n_and_an_interval(digits_record, adult_record):
    for record in (digits_record, adult_record):
        for check in record.checks:
            for metric in check.metrics:
                if metric.value is None:
                    assert metric.reason
                    continue
                assert metric.n > 0
                assert metric.low <= metric.value <= metric.high, (check.id, metric)
                assert metric.sufficient


def test_bits_round_trip():
    bits = [True, False, True, True, False, False, True, False, True]
    assert unpack(pack("m", bits)).tolist() == bits


def test_what_is_nested_without_end_is_no_record(tmp_path):
    path = tmp_path / "record.json"
    path.write_text("[" * 100_000)
    with pytest.raises(AuditError, match="is not JSON"):
        AuditRecord.load(path)

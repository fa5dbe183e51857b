"""Text from outside: whatever a name holds, a record can be written, read again and drawn."""

import json

import numpy as np
import pytest
from torch import nn

import audit
from audit.entrypoints import reporter
from audit.record import AuditRecord, CheckRecord, Figure, Metric, PerUnit
from audit.text import LONGEST_NAME, LONGEST_TEXT, clean, clean_name, clean_names

from .conftest import table_data

ODD = {
    "control": "refuse\x02",
    "escape": "\x1b[31mred",
    "bell": "\x07",
    "null": "a\x00b",
    "c1": "\x9b31m",
    "line separator": "a\u2028b",
    "paragraph separator": "a\u2029b",
    "half a character": "\ud800x",
    "reversed": "\u202eevil\u202c",
    "no character": "\ufffe",
    "new line": "a\nb",
    "tab": "c\td",
    "return": "a\rb",
    "ten megabytes": "y" * 10_000_000,
    "markup": "<script>&\"'",
    "empty": "",
    "braces": "{value} {0} %s",
    "picture": "🙂",
}


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
def test_what_is_cleaned_can_be_written_and_stays_clean(text):
    for cleaned in (clean(text), clean_name(text)):
        cleaned.encode("utf-8")
        assert not set(cleaned) & set("\x00\x02\x07\x1b\x9b\r\u2028\u2029\u202e\ufffe")
    assert len(clean(text)) <= LONGEST_TEXT + 10
    assert len(clean_name(text)) <= LONGEST_NAME
    assert "\n" not in clean_name(text)
    assert clean_name(clean_name(text)) == clean_name(text)


def test_plain_text_of_any_language_stays_as_it_is():
    for text in ("naïve", "日本語", "می‌خواهم", "👩‍👩‍👧", "a\nb\tc", "x" * LONGEST_TEXT):
        assert clean(text) == text


def test_long_names_that_differ_only_at_their_end_stay_different():
    assert clean_name("x" * 1000 + "a") != clean_name("x" * 1000 + "b")


def test_names_that_become_the_same_are_refused_and_never_merged():
    with pytest.raises(ValueError, match="two classes are called"):
        clean_names(["a\x02", "a‹U+0002›"], "classes")
    x, y = table_data(60)
    with pytest.raises(audit.AuditError, match=r"\[subject\] two classes are called 'no'"):
        audit.Subject(nn.Linear(4, 2), x, y, classes=["no", "no"])
    with pytest.raises(
        audit.AuditError, match="Two labels of the sensitive column 'sex' are called"
    ):
        audit.Subject(nn.Linear(4, 2), x, y, sensitive={"sex": np.array(["f\x02", "f‹U+0002›"])[y]})


def test_every_part_of_a_record_is_cleaned_when_made_when_changed_and_when_read():
    check = CheckRecord(id="a.b", kind="question", title="\x02", state="met")
    check.reason = "\ud800\ufffe"
    check.metrics = [Metric(name="m", value=1.0, n=1, slice={"group\u202e": "\u2028"})]
    check.tables = []
    assert check.title == "‹U+0002›"
    assert check.reason == "‹U+D800›‹U+FFFE›"
    assert check.metrics[0].slice == {"group‹U+202E›": "‹U+2028›"}
    raw = {**json.loads(check.model_dump_json()), "answer": "\x1b" * 3}
    assert CheckRecord.model_validate(raw).answer == "‹U+001B›" * 3


def test_pictures_and_bits_are_never_cut():
    long = "A" * 4 * LONGEST_TEXT
    figure = Figure(title="t", caption="c", png=long)
    bits = PerUnit(metric="m", n=8 * len(long) // 4 * 3, bits=long)
    check = CheckRecord(
        id="a.b", kind="question", title="t", state="met", figures=[figure], per_unit=[bits]
    )
    again = CheckRecord.model_validate_json(check.model_dump_json())
    assert again.figures[0].png == long
    assert again.per_unit[0].bits == long


def test_names_cost_neither_the_record_nor_a_report(tmp_path):
    names = list(ODD.values())
    y = np.arange(180) % len(names)
    subject = audit.Subject(
        nn.Linear(len(names), len(names)),
        np.eye(len(names), dtype=np.float32)[y],
        y,
        classes=names,
        output="logits",
        name=ODD["control"],
        data_name=ODD["ten megabytes"],
        features=[{"name": name, "columns": [i]} for i, name in enumerate(names)],
        sensitive={ODD["escape"]: np.array(names, dtype=object)[y]},
    )
    record = audit.run(
        subject, ["performance.*", "imbalance.*", "fairness.groups"], profile="quick"
    )
    again = AuditRecord.load(record.save(tmp_path / "record.json"))
    assert again.digest() == record.digest()
    assert len(set(again.subject.classes)) == len(names)
    assert (tmp_path / "record.json").stat().st_size < 1_000_000
    for name in ("html", "markdown", "junit", "console"):
        assert not set(reporter(name).render(again)) & set("\x02\x1b\u2028\ufffe")

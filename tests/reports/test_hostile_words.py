"""Words from outside: none of them steers a terminal, commands a CI job or becomes markup."""

import re
from xml.etree import ElementTree

import pytest
import torch
from torch import nn

import audit
from audit.entrypoints import reporter
from audit.streams import complain, say
from audit.text import printed

STEERING = {
    "escape sequence": "\x1b[2J\x1b]0;owned\x07",
    "C1 control sequence": "\u009b31m",
    "next line": "a\u0085b",
    "carriage return": "PASS\rFAIL",
    "backspaces": "FAIL\b\b\b\bPASS",
    "soft hyphen": "pass\u00adword",
    "Arabic letter mark": "a\u061cb",
    "Mongolian vowel separator": "a\u180eb",
    "zero-width space": "a\u200bb",
    "right-to-left override": "a\u202egnp.exe",
    "isolates": "\u2066a\u2069",
    "word joiner": "a\u2060b",
    "tags": "a\U000e0041b",
    "line separator": "a\u2028::error::b",
    "half a character": "a\ud800b",
}
COMMANDS = {
    "GitHub": "::error file=a.py::owned",
    "GitHub, after blanks": "  \t::add-mask::pass",
    "GitHub, on a later line": "fine\n::set-output name=a::b",
    "older": "fine ##[command]rm",
    "Azure": "##vso[task.setvariable variable=a]b",
}
ADDRESSES = (
    "http://example.invalid/x",
    "https://a.b",
    "www.example.invalid",
    "mailto:a@b.c",
    "a@b.c",
)
NOT_SEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)


@pytest.mark.parametrize("what", STEERING)
def test_nothing_that_is_printed_steers_a_terminal(what, capsys):
    say(STEERING[what])
    complain(STEERING[what])
    heard = capsys.readouterr()
    assert not NOT_SEEN.search(heard.out + heard.err)
    assert "‹U+" in heard.out


@pytest.mark.parametrize("what", COMMANDS)
def test_nothing_that_is_printed_commands_a_job(what):
    shown = printed(COMMANDS[what])
    assert not any(line.strip().startswith("::") for line in shown.splitlines())
    assert "##[" not in shown
    assert "##vso" not in shown


def test_what_says_nothing_of_the_kind_is_printed_as_it_is():
    text = "audit: x::y is no class; see https://a.b\n  ✔ PASS: naïve — 3 ≤ 4\n# heading"
    assert printed(text) == text


@pytest.fixture(scope="module")
def hostile():
    """The record of a subject all of whose words are hostile."""
    torch.manual_seed(0)
    x = torch.randn(60, 3)
    words = [
        *STEERING.values(),
        *COMMANDS.values(),
        *ADDRESSES,
        "<script>alert(1)</script>",
        "[a](b)",
    ]
    names = [f"{word} {i}" for i, word in enumerate(words)]
    model = nn.Linear(3, len(names)).eval()
    subject = audit.Subject(
        model,
        x,
        model(x).argmax(1),
        classes=names,
        sensitive={"::error::sex\x1b[2J": (["\u202ea", "https://a.b"] * 30)},
        name="\x1b]0;owned\x07 www.example.invalid",
        data_name="::warning::data",
    )
    return audit.run(
        subject, checks=["performance.*", "imbalance.*", "fairness.*"], profile="quick"
    )


@pytest.mark.parametrize("format_", ["html", "markdown", "junit"])
def test_no_format_carries_what_is_not_seen(hostile, format_):
    text = reporter(format_).render(hostile)
    assert not NOT_SEEN.search(text)
    assert "<script>alert" not in text
    if format_ == "junit":
        ElementTree.fromstring(text)
    if format_ == "markdown":
        assert not re.search(r"(?<!`)\b(?:https?|mailto):|\bwww\.", text)


def test_the_summary_on_the_console_is_fit_to_be_printed(hostile, capsys):
    say(reporter("console").summary(hostile))
    heard = capsys.readouterr().out
    assert not NOT_SEEN.search(heard)
    assert not any(line.strip().startswith("::") for line in heard.splitlines())

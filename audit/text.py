"""Text from outside, made fit to be written down: nothing in it steers, reorders or breaks a writer."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Any

LONGEST_TEXT = 10_000
LONGEST_NAME = 200

# Control characters but tab and new line, line separators that only some programs know, what is not seen
# and marks that reorder the text around them, halves of characters, and what Unicode calls no character.
UNFIT = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069"
    "\ufdd0-\ufdef\ufeff\ufff9-\ufffb\ufffe\uffff\ud800-\udfff\U000e0000-\U000e007f]"
)
# What runners of CI jobs take for commands of the job.
COMMANDS = re.compile(r"^(?=[^\S\n]*::)|##(?=\[|vso)", re.MULTILINE)


HALVES = re.compile("[\ud800-\udfff]")


def whole(value: Any) -> Any:
    """A string without lone halves of characters, which no file can hold; other values as they are."""
    if isinstance(value, str):
        return HALVES.sub(lambda m: f"‹U+{ord(m[0]):04X}›", value)
    return value


def clean(text: str, longest: int | None = LONGEST_TEXT) -> str:
    """`text` with unfit characters by their number, and cut where it is longer than `longest`."""
    if longest is not None and len(text) > longest:
        text = text[: longest - 1] + "…"
    text = text.replace("\r\n", "\n")
    return UNFIT.sub(lambda m: f"‹U+{ord(m[0]):04X}›", text)


def printed(text: str) -> str:
    """`text` as it may be printed: nothing in it steers a terminal or commands a CI job."""
    return COMMANDS.sub(lambda m: "# #" if m[0] else "· ", clean(text, None))


def clean_name(text: str) -> str:
    """The name of a class, feature, group or file on one line, cut where it is long.

    Names that differ stay different: a cut one ends in a digest of the whole.
    """
    shown = clean(re.sub(r"\s", " ", text) if "\n" in text or "\t" in text else text, None)
    if len(shown) <= LONGEST_NAME:
        return shown
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{shown[: LONGEST_NAME - 10]}…{digest}"


def clean_names(names: Iterable[str], what: str) -> list[str]:
    """Names that must differ.

    Raises:
        ValueError: two are the same, or become the same when they are cleaned.
    """
    shown = [clean_name(name) for name in names]
    seen: set[str] = set()
    for name in shown:
        if name in seen:
            raise ValueError(f"two {what} are called {name!r}; each needs a name of its own")
        seen.add(name)
    return shown


def clean_all(value: Any, longest: int | None = LONGEST_TEXT) -> Any:
    """Every string of a plain value cleaned; of other objects nothing is changed.

    What lies in a dictionary within a list is not cut: it is the raw form of a model that cuts its
    own strings, and knows which of them hold pictures or bits.
    """
    if isinstance(value, str):
        return clean(value, longest)
    if type(value) is dict:
        cleaned = {
            clean(k) if isinstance(k, str) else k: clean_all(v, longest) for k, v in value.items()
        }
        if len(cleaned) != len(value):
            raise ValueError("two keys are the same once unfit characters are taken out")
        return cleaned
    if type(value) in (list, tuple):
        items = [clean_all(v, None if isinstance(v, dict) else longest) for v in value]
        if all(new is old for new, old in zip(items, value, strict=True)):
            return value
        return tuple(items) if isinstance(value, tuple) else items
    return value

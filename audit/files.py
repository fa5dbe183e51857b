"""Files that somebody else made: a regular one, of a size that is read, and a sentence where it is not."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any, NoReturn

from audit.errors import AuditError

MOST_TEXT = 64 << 20  # bytes of a config or a record


def require_file(path: Path, what: str) -> int:
    """The bytes that a file holds.

    To read a pipe, a socket or a device may never end, and so nothing else than a regular file is opened.

    Args:
        what: names the file, as in 'The config'.

    Raises:
        AuditError: it is not there, or no regular file.
    """
    try:
        found = path.stat()
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or str(error)
        raise AuditError(f"{what} {path} cannot be read ({said}).") from None
    if not stat.S_ISREG(found.st_mode):
        raise AuditError(f"{what} {path} is not a regular file.")
    return found.st_size


def read_text(path: Path, what: str, most: int = MOST_TEXT) -> str:
    """A file's text, UTF-8 with or without a byte order mark.

    Raises:
        AuditError: it is no regular file, larger than `most` bytes, or no UTF-8.
    """
    size = require_file(path, what)
    if size > most:
        raise AuditError(
            f"{what} {path} holds {size >> 20:,} MiB, and at most {most >> 20:,} are read."
        )
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise AuditError(f"{what} {path} cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise AuditError(f"{what} {path} is not UTF-8 text.") from None


def strict_json(text: str) -> Any:
    """What a JSON text holds: numbers that are numbers, and every key once.

    Raises:
        ValueError: it is no JSON, or holds NaN, infinity or a key twice.
        RecursionError: it is nested without end.
    """
    return json.loads(text, object_pairs_hook=each_once, parse_constant=no_number)


def each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object. Raises ValueError where a key occurs twice: which is read would be chance."""
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key occurs twice")
    return made


def no_number(said: str) -> NoReturn:
    """Raise ValueError: JSON knows no NaN and no infinity."""
    raise ValueError(f"{said} is no number")

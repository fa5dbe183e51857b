"""What is kept on disk with a digest of it, so that it is read back only as it was kept.

A seal says that these bytes, of this type and shape, were kept under this key. It finds what was damaged or
cut off, what lies in another's place and what another tool wrote. It is no secret: whoever can write the
folder can make one. What somebody planted is found by making some of it again (`audit.evidence`).
Imports no torch.
"""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path


class Damaged(Exception):
    """A file is there and does not hold what was kept in it."""


def require_file(path: Path) -> None:
    """Raise Damaged where something else than a file has the name: to read a pipe may never end.

    Raises:
        OSError: nothing is there.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise Damaged(path)


def sealed_text(key: str, text: str) -> str:
    """A text, its seal in the first line."""
    return f"{text_seal(key, text)}\n{text}"


def unsealed_text(path: Path, key: str) -> str:
    """The text of a file, as it was kept under this key.

    Raises:
        OSError: the file is not there, or cannot be read.
        Damaged: it does not hold what was kept.
    """
    require_file(path)
    try:
        seal, _, text = path.read_text(encoding="utf-8").partition("\n")
    except UnicodeDecodeError as error:
        raise Damaged(path) from error
    if seal != text_seal(key, text):
        raise Damaged(path)
    return text


def text_seal(key: str, text: str) -> str:
    """The digest of a text that is kept under a key."""
    return hashlib.blake2b(f"{key}\n{text}".encode()).hexdigest()[:32]

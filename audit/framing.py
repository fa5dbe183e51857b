"""Messages over a pipe that code of other people may write into, too: what is none is seen. No torch."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from typing import Any

HEAD = struct.Struct("!4sI8s")
MARK = b"\x00adt"
LONGEST = 1 << 30
SILENCED = 113  # the exit code of who can no longer speak


class Garbled(Exception):
    """What came over the pipe is no message."""


def framed(message: dict[str, Any]) -> bytes:
    """A message as bytes, with its length and a digest of it."""
    body = json.dumps(message).encode()
    return HEAD.pack(MARK, len(body), digest(body)) + body


def digest(body: bytes) -> bytes:
    """Eight bytes by which a message is known to be whole."""
    return hashlib.blake2b(body, digest_size=8).digest()


def write_all(pipe: int, content: bytes) -> None:
    """Write all of it.

    Raises:
        OSError: nobody reads any more.
    """
    view = memoryview(content)
    while view:
        view = view[os.write(pipe, view) :]


class Messages:
    """What has come over a pipe so far, cut into messages."""

    def __init__(self) -> None:
        self.held = bytearray()

    def add(self, content: bytes) -> None:
        self.held += content

    def next(self) -> dict[str, Any] | None:
        """The next whole message; None where there is none yet.

        Raises:
            Garbled: something else came.
        """
        if len(self.held) < HEAD.size:
            if not MARK.startswith(bytes(self.held[: len(MARK)])):
                raise Garbled
            return None
        mark, length, told = HEAD.unpack_from(self.held)
        if mark != MARK or length > LONGEST:
            raise Garbled
        if len(self.held) < HEAD.size + length:
            return None
        body = bytes(self.held[HEAD.size : HEAD.size + length])
        del self.held[: HEAD.size + length]
        if digest(body) != told:
            raise Garbled
        try:
            message = json.loads(body)
        except (ValueError, RecursionError):
            raise Garbled from None
        if not isinstance(message, dict):
            raise Garbled
        return message

"""Standard streams that may be closed, or that nobody reads any more (`| head`)."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from typing import Any

from audit.text import clean


class Unheard(io.FileIO):
    """A file whose reader may have gone: what is written then is lost, and nothing fails.

    Any other failure (a full disk) is raised, once.
    """

    failed = False

    def write(self, content: Any) -> int:
        try:
            return super().write(content)
        except OSError as error:
            if self.failed or error.errno in (errno.EPIPE, errno.EBADF):
                return len(content)
            self.failed = True
            raise


def settle_streams() -> None:
    """Make standard streams that can be written to whatever has become of them.

    One that was closed leads nowhere, so that no file of ours takes its number; one whose reader
    has gone swallows; a terminal that knows no ✔ shows a ?.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
        stream = getattr(sys, name)
        if name == "stdin":
            if stream is None:
                sys.stdin = open(number, encoding="utf-8", closefd=False)  # noqa: SIM115
            continue
        if stream is None:
            stream = open(number, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        elif not isinstance(stream, io.TextIOWrapper) or stream.fileno() != number:
            continue  # somebody catches what is printed
        setattr(
            sys,
            name,
            io.TextIOWrapper(
                io.BufferedWriter(Unheard(number, "w", closefd=False)),
                encoding=stream.encoding,
                errors="replace",
                line_buffering=stream.line_buffering,
                write_through=stream.write_through,
            ),
        )


def complain(text: str) -> None:
    """Print to standard error; that it cannot be printed changes nothing."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        print(clean(text, None), file=sys.stderr, flush=True)


def say(text: str) -> None:
    """Print to standard output, at once: what cannot be written is found out here.

    Raises:
        OSError: it cannot, though somebody listens (a full disk).
    """
    with contextlib.suppress(ValueError, AttributeError):  # closed or replaced by somebody's code
        print(text, flush=True)

"""The folder that an audit writes into: made first, and nobody else's meanwhile."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator
from pathlib import Path

from audit.errors import AuditError
from audit.record import PARTIAL

try:
    import fcntl
except ImportError:  # no POSIX system
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"
TURNS = ".turns"


def make_folder(out: Path) -> None:
    """Make the folder that is written to, before anything expensive is done.

    Raises:
        AuditError: it cannot be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AuditError(f"--out {out}: the folder cannot be made ({error.strerror}).") from None


@contextlib.contextmanager
def turn(folder: Path | None, key: str, *, wait: bool) -> Iterator[bool]:
    """Be the only process that makes what is kept under a key; is it this one's turn?

    Nobody waits for who was killed: a turn ends with its process. Where there is no folder, or a file
    system that knows no locks, everybody's turn is at once.

    Args:
        key: hexadecimal digits.
        wait: until it is.
    """
    lock = None if folder is None or fcntl is None else opened(folder, os.getpid())
    if lock is None:
        yield True
        return
    place = int(key[:12], 16)
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB), 1, place)
    except (BlockingIOError, PermissionError):
        yield False
        return
    except OSError:
        pass
    try:
        yield True
    finally:
        with contextlib.suppress(OSError):
            fcntl.lockf(lock, fcntl.LOCK_UN, 1, place)


@functools.cache
def opened(folder: Path, _process: int) -> int | None:
    """The file of turns, opened once by each process: who closes one lets go of all that it has."""
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        return os.open(folder / TURNS, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    return None


@contextlib.contextmanager
def alone_in(out: Path) -> Iterator[None]:
    """Be the only audit that writes into a folder; what one that was killed left half written is removed.

    Raises:
        AuditError: another audit writes there.
    """
    if fcntl is None:
        yield
        return
    try:  # a pipe of that name would be waited for, and a link's target be emptied
        lock = os.open(out / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    except OSError:  # a folder that cannot be written is told of where something has to be written
        yield
        return
    with open(lock, "rb", buffering=0):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AuditError(
                f"--out {out}: another audit is writing there; wait for it to end, or give another folder."
            ) from None
        except OSError:  # a file system that knows no locks
            pass
        for partial in out.rglob(f".*{PARTIAL}"):
            if not partial.is_dir():
                partial.unlink(missing_ok=True)
        yield

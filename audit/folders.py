"""The folder that an audit writes into: made first, and nobody else's meanwhile."""

from __future__ import annotations

import contextlib
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

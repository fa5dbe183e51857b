"""The folder that an audit writes into: made first, and nobody else's meanwhile."""

from __future__ import annotations

import contextlib
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
    try:
        lock = (out / LOCK).open("w")
    except OSError:  # a folder that cannot be written is told of where something has to be written
        yield
        return
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AuditError(
                f"--out {out}: another audit is writing there; wait for it to end, or give another folder."
            ) from None
        except OSError:  # a file system that knows no locks
            pass
        for partial in out.rglob(f".*{PARTIAL}"):
            partial.unlink(missing_ok=True)
        yield

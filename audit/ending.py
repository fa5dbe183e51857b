"""How a command ends that was cut short: its exit code and a sentence. Imports no torch."""

from __future__ import annotations

import signal
import traceback

from audit.errors import AuditError
from audit.foreign import said, told

KEPT = "what was measured is kept, the same command goes on from there."
SHORT_OF_MEMORY = ("not enough memory", "allocate memory", "out of memory")


class Ended(Exception):
    """Another process has come to its end, and has said how."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        # No process but the one that wrote a record says that all is well.
        self.code, self.text = code or 4, text


class Signalled(KeyboardInterrupt):
    """Somebody has asked this process to end."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def starved(error: BaseException) -> bool:
    """Was there not enough memory?"""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, (RuntimeError, OSError)) and any(
        words in str(error) for words in SHORT_OF_MEMORY
    )


def ending(error: BaseException) -> tuple[int, str]:
    """The exit code of what a command raised, and what is to be said of it."""
    if isinstance(error, Ended):
        return error.code, error.text
    if isinstance(error, AuditError):
        return 2, f"audit: {error}"
    if isinstance(error, KeyboardInterrupt):
        number = error.number if isinstance(error, Signalled) else signal.SIGINT
        how = (
            "interrupted" if number == signal.SIGINT else f"ended by {signal.Signals(number).name}"
        )
        return 128 + number, f"audit: {how}; {KEPT}"
    if isinstance(error, MemoryError):
        return 2, "audit: there is not enough memory for the model and its data."
    if isinstance(error, OSError):
        where = f" {error.filename}" if error.filename else ""
        return 2, f"audit: cannot use{where}: {error.strerror or error}."
    if isinstance(error, SystemExit):
        return 2, (
            f"audit: code that was run by the audit {said(error)}, so there is no verdict; take that "
            "call out of it."
        )
    trace = "".join(traceback.format_exception(error)).rstrip()
    return (
        4,
        f"{trace}\naudit: internal error: {told(error)}. Please report it with the lines above.",
    )

"""Code of the user's own, run inside the audit: whatever it raises becomes one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from audit.errors import AuditError

LONGEST = 300


def told(error: BaseException) -> str:
    """'ValueError: x', on one line, or 'sys.exit(0)'."""
    if isinstance(error, SystemExit):
        return f"sys.exit({'' if error.code is None else repr(error.code)[:LONGEST]})"
    try:
        message = " ".join(str(error).split())[:LONGEST]
    except Exception:  # noqa: BLE001 - an error of somebody's own, that cannot be printed either
        message = ""
    return type(error).__name__ + (f": {message}" if message else "")


def said(error: BaseException) -> str:
    """What somebody's code did to end: 'raised ValueError: x', 'called sys.exit(0)'."""
    return f"{'called' if isinstance(error, SystemExit) else 'raised'} {told(error)}"


@contextmanager
def foreign(what: str, *, advice: str = "", exit_advice: str = "") -> Iterator[None]:
    """Run code of the user's.

    Args:
        what: names the code, before 'raised …' or 'called sys.exit(…)'.
        advice: what to do about an exception, exit_advice: about an exit.

    Raises:
        AuditError: it raised, or tried to end the process.
    """
    try:
        yield
    except (AuditError, KeyboardInterrupt):
        raise
    except BaseException as error:
        hint = exit_advice if isinstance(error, SystemExit) else advice
        raise AuditError(f"{what} {said(error)}{'; ' if hint else ''}{hint}.") from error


@contextmanager
def no_exit(what: str, advice: str = "") -> Iterator[None]:
    """Run code of which some is the user's: only what would end the process is taken for theirs.

    Raises:
        AuditError: it tried to end the process.
    """
    try:
        yield
    except (Exception, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise AuditError(f"{what} {said(error)}{'; ' if advice else ''}{advice}.") from error

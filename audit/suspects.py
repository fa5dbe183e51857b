"""Code of other people that has ended a process once is not run again in the next. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Plug-ins by name and checks by id, and what became of the process that ran them.
UNFIT: dict[str, str] = {}


def unwatched(_name: str) -> None:
    """Nobody listens."""


class Watched:
    """Who is told whose code is run next, so that it is known when the process ends in it."""

    told: Callable[[str], None] = staticmethod(unwatched)


@contextmanager
def running(name: str) -> Iterator[None]:
    """Run code of a plug-in or of a check while others wait for this process."""
    Watched.told(name)
    try:
        yield
    finally:
        Watched.told("")

"""Signals that end a run; and commands that run as a whole in a child process.

Any code of other people that a command runs may end its process (`os._exit(0)`, a crash in a library), and
an exit code of 0 would then say that all is well. So the parent, which runs none of that code, hears from
the child over a pipe once the command has come to its end; whoever falls silent before has failed. An
audit asks more of its processes (`audit.workers`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from audit.ending import KEPT, Signalled
from audit.streams import complain

FORWARDED = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
# A terminal sends Ctrl-C to parent and child, and the parent passes on its own.
ONE_PRESS = 1.0


def guarded(command: Callable[[], int]) -> int:
    """Run a command in a child process.

    Args:
        command: gives its exit code.

    Returns:
        The exit code that the child said; 2 where its process was ended before it said one, 4
        where it crashed, 128 and the signal's number where somebody ended it.
    """
    hears, says = os.pipe()
    lives, life = os.pipe()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    signals = Forwarding()
    child = os.fork()
    if child == 0:
        os.close(hears)
        os.close(life)
        signals.undo()
        work(command, says, lives)
    signals.send_to(child)
    os.close(says)
    os.close(lives)
    _, status = os.waitpid(child, 0)
    os.set_blocking(hears, False)
    try:
        said = os.read(hears, 1 << 16)
    except BlockingIOError:  # a process of somebody's own still holds the other end
        said = b""
    return believed(said, os.waitstatus_to_exitcode(status))


@contextlib.contextmanager
def ending_on_signals() -> Iterator[None]:
    """Let the first signal that asks this process to end raise `Signalled` in it."""
    before = {n: signal.getsignal(n) for n in FORWARDED}

    def end(number: int, _frame: Any) -> None:
        for other in before:  # what is begun by the first is not cut short by the next
            signal.signal(other, signal.SIG_IGN)
        raise Signalled(number)

    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Forwarding:
    """Signals that the parent is sent go on to its child; those that come before it is there, too."""

    def __init__(self) -> None:
        self.child = 0
        self.early: list[int] = []
        self.before = {n: signal.getsignal(n) for n in FORWARDED}
        for number, handler in self.before.items():
            if handler is not signal.SIG_IGN:  # as under nohup
                signal.signal(number, self.forward)

    def forward(self, number: int, _frame: Any) -> None:
        if not self.child:
            self.early.append(number)
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.child, number)

    def send_to(self, child: int) -> None:
        self.child = child
        for number in self.early:
            self.forward(number, None)

    def undo(self) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)


def work(command: Callable[[], int], says: int, lives: int) -> None:
    """The child: run the command, say how it ended, end."""
    me = os.getpid()
    threading.Thread(target=die_with_parent, args=(lives,), daemon=True).start()
    pressed = [-ONE_PRESS]

    def interrupt(_number: int, _frame: Any) -> None:
        now = time.monotonic()
        if now - pressed[0] >= ONE_PRESS:
            pressed[0] = now
            raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
    code = command()
    if os.getpid() == me:  # not a copy of it that somebody's code has forked
        os.write(says, str(code).encode())
    sys.exit(code)


def die_with_parent(lives: int) -> None:
    """A parent that is killed cannot say so: its end of the pipe closes."""
    os.read(lives, 1)
    os.kill(os.getpid(), signal.SIGKILL)


def believed(said: bytes, ended: int) -> int:
    """The exit code, from what the child said and how its process ended."""
    if said:
        return int(said)
    if ended >= 0:
        complain(
            f"audit: the audit was cut short by code that it ran, which ended the process with exit "
            f"code {ended} (os._exit, or a library's own exit), so there is no verdict; take that "
            "call out of the model, the data callable or the plug-in."
        )
        return 2
    name = signal.Signals(-ended).name
    if -ended in FORWARDED:
        complain(f"audit: ended by {name}; {KEPT}")
        return 128 - ended
    hint = " (the system may have run out of memory)" if name == "SIGKILL" else ""
    complain(
        f"audit: the process that ran the audit was ended by {name}{hint}, so there is no verdict; "
        "what was measured is kept."
    )
    return 4

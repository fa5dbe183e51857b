"""A worker: one subject in a process of its own, which answers for one check at a time."""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from audit.ending import ending
from audit.framing import SILENCED, Messages, framed, write_all
from audit.job import Job
from audit.ledger import Ledger
from audit.pieces import Agenda, Answer, as_data, broken
from audit.suspects import UNFIT, Watched

OFTEN = 0.1  # seconds between two words on how far a check is


class Channel:
    """The worker's end of the two pipes to the run that it works for.

    Where that run has ended, this process does, and all that was started by it.
    """

    def __init__(self, requests: int, answers: int) -> None:
        self.pipe, self.me = answers, os.getpid()
        self.speaking = threading.Lock()
        self.waiting: queue.Queue[dict[str, Any]] = queue.Queue()
        self.said = 0.0
        threading.Thread(target=self.listen, args=(requests,), daemon=True).start()

    def listen(self, requests: int) -> None:
        messages = Messages()
        try:
            while content := os.read(requests, 1 << 16):
                messages.add(content)
                while (message := messages.next()) is not None:
                    self.waiting.put(message)
        except OSError:  # somebody's code has closed it
            return
        self.me = 0  # there is nobody to tell
        os.killpg(0, signal.SIGKILL)

    def next(self) -> dict[str, Any]:
        """What is asked next."""
        return self.waiting.get()

    def say(self, **message: Any) -> None:
        """Say something, unless this is a copy of the worker that somebody's code has forked."""
        if os.getpid() != self.me:
            os._exit(0)
        try:
            with self.speaking:
                write_all(self.pipe, framed(message))
        except OSError:  # somebody's code has closed it
            os._exit(SILENCED)

    def tick(self, what: str, done: int, of: int) -> None:
        """Say how far the check is; not every time."""
        now = time.monotonic()
        if now - self.said >= OFTEN:
            self.said = now
            self.say(tick=[what, done, of])


def seen(channel: Channel, event: str, given: tuple[Any, ...]) -> None:
    """Say that this process is about to end itself, so that nobody thinks that somebody else has."""
    if event in ("os.kill", "os.killpg") and given[0] in (0, os.getpid()) and channel.me:
        channel.say(ends_itself=True)


def serve(
    job: Job, agenda: Agenda | None, before: Ledger, unfit: Mapping[str, str], channel: Channel
) -> None:
    """Open the subject, and answer until nobody asks any more.

    Args:
        agenda: what was planned elsewhere; it is planned here, and told, where None.
        before: what came of keeping evidence so far.
        unfit: plug-ins and checks whose code is not to be run, and why.
    """
    UNFIT.update(unfit)
    sys.addaudithook(partial(seen, channel))
    Watched.told = lambda name: channel.say(running=name)
    try:
        here = job.opened()
        if agenda is None:
            agenda = here.agenda()
            channel.say(agenda=as_data(agenda))
        else:
            here.follow(agenda, before)
    except BaseException as error:  # noqa: BLE001 - whatever it is, whoever waits is told
        if isinstance(error, KeyboardInterrupt):  # nobody presses keys here
            error = SystemExit("KeyboardInterrupt")
        channel.say(refused=ending(error))
        return
    channel.say(ready=True)
    here.store.progress = channel.tick
    told = set(before.made)
    while True:
        number = channel.next()["ask"]
        if number is None:
            said: dict[str, Any] = {"confirmed": here.confirmed()}
        else:
            try:
                answer = here.answer(number)
            except KeyboardInterrupt:  # nobody presses keys here
                record = broken(agenda.pieces[number], "it raised KeyboardInterrupt")
                answer = Answer(record=record, seconds=0.0, ledger={}, harmed=True)
            said = {"answer": as_data(answer)}
        ledger = here.ledger.since(told)
        told.update(ledger["made"])
        channel.say(**said, ledger=ledger)

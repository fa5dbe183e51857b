"""Checks are asked in worker processes: what one of them does costs its own answer and nothing else.

Code of other people runs inside an audit: a model's module, its `forward`, a data callable, a plug-in. Any
of it may hang, end the process, take all memory, print without end or close what it finds open. So the
parent runs none of it. It forks workers before it has anything of theirs in it, hands each one check at a
time, and hears from it over a pipe. A worker that is lost is replaced, and the check that it was at is
broken, with the reason. Only where somebody else ended it (SIGKILL, as by the system that is short of
memory, or another signal that is sent) the check is asked again, and goes on from the evidence that is kept.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import sys
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any

from audit.conducting import Place
from audit.ending import Ended
from audit.framing import SILENCED, Garbled, Messages, framed, write_all
from audit.job import Job
from audit.ledger import Ledger
from audit.limits import limit_memory, memory_limit, oom_kills
from audit.pieces import Agenda, Answer, Piece, broken
from audit.streams import complain
from audit.watching import ROWS, Course

TRIES = 12  # of a check whose worker is ended by somebody else
MOST_UNFIT = 10  # plug-ins and checks that a plan does without, each for one worker that was lost
LEAST = 600.0  # seconds that every check is given
TIMES = 10.0  # as many times as long as it was thought to take
OPENING = 3600.0  # seconds to open a model and its data
PATIENCE = 50
LOOK = 0.25  # seconds between two looks at whether all workers live
MOST_PRINTED = 10_000_000  # bytes, for one check
MOST_SHOWN = 100_000  # of them
FORGED = "something in it wrote into the pipe over which its process answers"
SENT = {signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


@dataclass(frozen=True)
class Lost:
    """How a worker was lost; outside: not by what it did itself."""

    how: str
    outside: bool = False


@dataclass
class Worker:
    """A worker process, as its parent sees it.

    Attributes:
        at: the piece that it is asked, None between two; opened: does it wait to be asked?
        due: when it must have answered.
        answered: pieces that it has answered.
        ends_itself: has it said that it is about to?
        oom_kills: processes that the system had ended for want of memory when it was asked last.
        running: the plug-in or the check whose code it runs to plan.
    """

    pid: int
    requests: int
    answers: int
    output: int
    at: int | None = None
    opened: bool = False
    due: float = float("inf")
    answered: int = 0
    running: str = ""
    messages: Messages = field(default_factory=Messages)
    printed: int = 0
    line: bytes = b""
    closed: bool = False
    mute: bool = False
    ends_itself: bool = False
    oom_kills: int = field(default_factory=oom_kills)
    status: int | None = None

    def ask(self, number: int | None, seconds: float) -> None:
        self.due, self.printed = time.monotonic() + seconds, 0
        self.oom_kills = oom_kills()
        self.at = number
        with contextlib.suppress(OSError):  # it is gone: seen when it is looked at
            write_all(self.requests, framed({"ask": number}))

    def lives(self) -> bool:
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status is None

    def kill(self) -> None:
        """End it, and all that it has started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        if self.status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.status = -signal.SIGKILL


class Workers(Place):
    """Worker processes of one job: a `Place`. Leaving it ends them all.

    Args:
        number: of workers at once. deadline: seconds for one check; None: by what it was thought to take.
        memory: bytes that all may take together; None: most of what the machine has.
        relay: is given what they print, a line at a time.
    """

    def __init__(
        self,
        job: Job,
        *,
        number: int = 1,
        deadline: float | None = None,
        memory: int | None = None,
        relay: Callable[[str], None] = complain,
    ) -> None:
        self.job, self.number, self.deadline, self.relay = job, number, deadline, relay
        self.memory = (memory or memory_limit()) // number
        self.kept = Ledger()
        self.unfit: dict[str, str] = {}
        self.workers: list[Worker] = []
        self.selector = selectors.DefaultSelector()

    @property
    def ledger(self) -> Ledger:
        return self.kept

    def environment(self) -> dict[str, Any]:
        return {"process": "workers", "workers": self.number}

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for worker in list(self.workers):
            self.end(worker)
        self.selector.close()

    # Processes

    def start(self, agenda: Agenda | None) -> Worker:
        """A new worker, which opens the subject."""
        asked, requests = os.pipe()
        answers, said = os.pipe()
        output, prints = os.pipe()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        pid = os.fork()
        if pid == 0:
            self.work(agenda, asked, said, prints)
        for pipe in (asked, said, prints):
            os.close(pipe)
        for pipe in (answers, output):
            os.set_blocking(pipe, False)
        worker = Worker(pid, requests, answers, output)
        worker.due = time.monotonic() + (self.deadline or OPENING)
        self.selector.register(answers, selectors.EVENT_READ, worker)
        self.selector.register(output, selectors.EVENT_READ, worker)
        self.workers.append(worker)
        return worker

    def work(self, agenda: Agenda | None, asked: int, said: int, prints: int) -> None:
        """The child: a session of its own, nothing open but its pipes; it never returns."""
        try:
            os.setsid()
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    signal.signal(number, signal.SIG_DFL)
            alone_with(asked, said, prints)
            limit_memory(self.memory)
            from audit.serving import Channel, serve

            serve(self.job, agenda, self.kept, self.unfit, Channel(asked, said))
        except BaseException:  # noqa: BLE001 - nothing may go on in the child as if it were the parent
            traceback.print_exc()
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
            os._exit(1)

    def end(self, worker: Worker) -> None:
        """End a worker; what it has printed is shown."""
        worker.kill()
        while self.hear_print(worker) and worker.printed <= MOST_PRINTED:
            pass
        if worker.line:
            self.relay(worker.line.decode(errors="replace"))
        self.selector.unregister(worker.answers)
        if not worker.mute:
            self.selector.unregister(worker.output)
        for pipe in (worker.requests, worker.answers, worker.output):
            os.close(pipe)
        self.workers.remove(worker)

    # What they say

    def heard(self) -> Iterator[tuple[Worker, dict[str, Any] | Lost]]:
        """What workers say, and which are lost, within a moment."""
        now = time.monotonic()
        due = min((w.due for w in self.workers), default=now)
        for key, _ in self.selector.select(max(0.0, min(LOOK, due - now))):
            worker = key.data
            if key.fd == worker.output:
                self.hear_print(worker)
            else:
                self.hear(worker)
        for worker in list(self.workers):
            lost = self.state_of(worker)
            try:
                while (message := worker.messages.next()) is not None:
                    worker.ends_itself |= "ends_itself" in message
                    yield worker, message
            except Garbled:
                lost = Lost(FORGED)
            if lost and worker in self.workers:
                if worker.ends_itself or (lost.outside and oom_kills() > worker.oom_kills):
                    lost = replace(lost, outside=False)
                yield worker, lost

    def hear(self, worker: Worker) -> None:
        """Read what has come over a worker's pipe."""
        with contextlib.suppress(BlockingIOError):
            for _ in range(64):
                content = os.read(worker.answers, 1 << 18)
                if not content:
                    worker.closed = True
                    return
                worker.messages.add(content)

    def hear_print(self, worker: Worker) -> bool:
        """Show what a worker prints, line by line; of a flood, its beginning. Was there anything?"""
        try:
            content = os.read(worker.output, 1 << 16)
        except BlockingIOError:
            return False
        if not content:
            if not worker.mute:
                worker.mute = True
                self.selector.unregister(worker.output)
            return False
        if worker.printed < MOST_SHOWN:
            *lines, worker.line = (worker.line + content).split(b"\n")
            for line in lines:
                self.relay(line.decode(errors="replace"))
            if worker.printed + len(content) >= MOST_SHOWN:
                self.relay("audit: more was printed, and is not shown.")
                worker.line = b""
        worker.printed += len(content)
        return True

    def state_of(self, worker: Worker) -> Lost | None:
        """How a worker was lost; None where it is not."""
        if not worker.lives():
            self.hear(worker)
            assert worker.status is not None
            return lost(worker.status)
        if worker.closed:
            for _ in range(PATIENCE):  # of one that ends, the pipe is closed first
                time.sleep(0.02)
                if not worker.lives():
                    return lost(worker.status or 0)
            return lost(SILENCED)
        if worker.printed > MOST_PRINTED:
            return Lost(f"it printed more than {MOST_PRINTED // 10**6} MB")
        if time.monotonic() > worker.due:
            return Lost("it had not answered in time; [run] deadline gives it more")
        return None

    # A place

    def agenda(self) -> Agenda:
        """What a first worker plans.

        Raises:
            Ended: the subject cannot be opened; with the sentence.
        """
        return self.opened(None)

    def follow(self, agenda: Agenda, before: Ledger) -> None:
        """Ask what was planned elsewhere.

        Raises:
            Ended: the subject cannot be opened, or is another; with the sentence.
        """
        self.kept.begun_by(before)
        self.opened(agenda)

    def opened(self, agenda: Agenda | None) -> Agenda:
        """Have a first worker open the subject, and plan where nothing is planned."""
        tries = 0
        worker = self.start(agenda)
        while agenda is None or not worker.opened:
            for worker, said in self.heard():
                if not isinstance(said, Lost):
                    try:
                        self.opening(worker, said)
                        if "agenda" in said:
                            agenda = Agenda.model_validate(said["agenda"])
                        continue
                    except (TypeError, ValueError):
                        said = Lost(FORGED)
                self.end(worker)
                tries += 1
                if worker.running and len(self.unfit) < MOST_UNFIT:
                    self.unfit[worker.running] = said.how
                elif not said.outside or tries == TRIES:
                    raise Ended(2, f"audit: the model was not opened: {opened_by(said)}.")
                worker = self.start(agenda)
        return agenda

    def opening(self, worker: Worker, said: dict[str, Any]) -> None:
        """What a worker says before it waits to be asked.

        Raises:
            Ended: it cannot open the subject.
        """
        if "refused" in said:
            code, text = said["refused"]
            if not 0 < int(code) < 256:
                raise ValueError(code)
            raise Ended(int(code), str(text))
        worker.running = str(said.get("running", worker.running))
        if "ready" in said:
            worker.opened, worker.due = True, float("inf")

    def allowed(self, piece: Piece, agenda: Agenda) -> float:
        """Seconds that a check is given."""
        thought = (agenda.pace or 0.0) * piece.alone / ROWS
        return self.deadline or max(LEAST, TIMES * thought)

    def answers(self, agenda: Agenda, course: Course) -> Iterator[tuple[int, Answer]]:
        """All that is planned, each by whichever worker is free."""
        return Round(self, agenda, course).answers()


class Round:
    """All pieces of an agenda, asked once each."""

    def __init__(self, place: Workers, agenda: Agenda, course: Course) -> None:
        self.place, self.agenda, self.course = place, agenda, course
        self.waiting = deque(n for n, piece in enumerate(agenda.pieces) if piece.asked)
        self.tries: Counter[int] = Counter()
        self.failed = 0  # workers in a row that were lost before they waited to be asked
        self.most = place.number
        self.done: list[tuple[int, Answer]] = []

    def answers(self) -> Iterator[tuple[int, Answer]]:
        self.confirm()
        place = self.place
        while self.waiting or any(w.at is not None for w in place.workers):
            self.hand_out()
            for worker, said in place.heard():
                if isinstance(said, Lost):
                    self.lost(worker, said)
                else:
                    self.told(worker, said)
            yield from self.done
            self.done.clear()

    def confirm(self) -> None:
        """Have the first worker ask again one check that was measured before."""
        place = self.place
        worker = place.workers[0]
        worker.ask(None, place.deadline or max(LEAST, *self.allowances()))
        while True:
            for _, said in place.heard():
                if isinstance(said, Lost):
                    place.ledger.rejected.add("measured")
                    place.end(worker)
                    return
                if "confirmed" in said:
                    with contextlib.suppress(AttributeError, KeyError, TypeError, ValueError):
                        place.ledger.add(said["ledger"])
                    worker.due = float("inf")
                    return

    def allowances(self) -> list[float]:
        return [LEAST, *(self.place.allowed(piece, self.agenda) for piece in self.agenda.pieces)]

    def hand_out(self) -> None:
        """Give each worker that waits a check, and start those that are missing."""
        place = self.place
        for worker in place.workers:
            if self.waiting and worker.opened and worker.at is None:
                number = self.waiting.popleft()
                self.course.begin(number)
                worker.ask(number, place.allowed(self.agenda.pieces[number], self.agenda))
        coming = sum(not worker.opened for worker in place.workers)
        missing = min(self.most - len(place.workers), len(self.waiting) - coming)
        for _ in range(missing):
            place.start(self.agenda)

    def told(self, worker: Worker, said: dict[str, Any]) -> None:
        """A worker has said something."""
        if not worker.opened:
            try:
                self.place.opening(worker, said)
            except Ended as error:
                self.lost(worker, Lost(error.text.splitlines()[-1].removeprefix("audit: ")))
            except (TypeError, ValueError):
                self.lost(worker, Lost(FORGED))
            return
        self.failed = 0
        if worker.at is None:
            return
        if "ends_itself" in said:
            return
        try:
            answer = self.understood(worker.at, said)
        except (AttributeError, KeyError, TypeError, ValueError):
            self.lost(worker, Lost(FORGED))
            return
        if answer is None:
            return
        number, worker.at, worker.due = worker.at, None, float("inf")
        self.place.ledger.add(answer.ledger)
        # What earlier checks have left behind may be what took the memory.
        again = answer.starved and worker.answered > 0
        worker.answered += 1
        if again:
            self.waiting.appendleft(number)
        else:
            self.answered(number, answer)
        if answer.harmed or answer.starved:
            self.place.end(worker)

    def understood(self, number: int, said: dict[str, Any]) -> Answer | None:
        """The answer to a piece; None where something is said on the way to it.

        Raises:
            AttributeError, KeyError, TypeError, ValueError: no worker of ours would have said that.
        """
        if "tick" in said:
            what, done, of = said["tick"]
            self.course.report(str(what), int(done), int(of), number)
            return None
        answer = Answer.model_validate(said["answer"])
        answer.ledger = said["ledger"]
        Ledger().add(answer.ledger)
        if answer.record.id != self.agenda.pieces[number].record.id:
            raise ValueError(answer.record.id)
        return answer

    def answered(self, number: int, answer: Answer) -> None:
        self.course.end(number)
        self.done.append((number, answer))

    def lost(self, worker: Worker, how: Lost) -> None:
        """Go on without a worker; the check that it was at is broken, or asked again."""
        number = worker.at
        self.place.end(worker)
        if number is not None:
            self.tries[number] += 1
            if how.outside and self.tries[number] < TRIES:
                self.waiting.appendleft(number)
            else:
                self.give_up(number, how.how)
        elif not worker.opened:
            self.failed += 1
            if self.failed == TRIES or not how.outside:
                self.most = len(self.place.workers)
                while self.waiting and not self.place.workers:
                    self.give_up(
                        self.waiting.popleft(), f"the model was not opened again: {how.how}"
                    )

    def give_up(self, number: int, reason: str) -> None:
        record = broken(self.agenda.pieces[number], reason)
        self.answered(number, Answer(record=record, seconds=0.0, ledger={}))


def lost(status: int) -> Lost:
    """How a process ended, by its exit code, or less than 0 by a signal."""
    if status == SILENCED:
        return Lost("something in it closed the pipe over which its process answers")
    if status >= 0:
        return Lost(
            f"code in it ended the process with exit code {status} (os._exit, or a library's own exit)"
        )
    name = signal.Signals(-status).name
    hint = " (the system may have run out of memory)" if name == "SIGKILL" else ""
    return Lost(f"its process was ended by {name}{hint}", outside=-status in SENT)


def opened_by(how: Lost) -> str:
    """What became of the process that was to open a model."""
    return how.how.replace("in it", "that it runs").replace("it ", "the process ", 1)


def alone_with(*pipes: int) -> None:
    """Leave nothing open but pipes, the last of which takes what is printed; standard input is empty.

    Files of the parent's, a lock among them, would stay open as long as any child of a child lives.
    """
    *kept, prints = pipes
    empty = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((empty, 0), (prints, 1), (prints, 2)):
        os.dup2(source, target)
    start = 3
    for pipe in sorted(kept):
        os.closerange(start, pipe)
        start = pipe + 1
    os.closerange(start, 1 << 16)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = open(  # noqa: SIM115
            number, "w", encoding="utf-8", errors="replace", buffering=1, closefd=False
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)

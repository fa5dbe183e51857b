"""How far a run is, for whoever watches. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

ROWS = 200  # samples of a pass: through the network, forward or backward


@dataclass(frozen=True)
class Tick:
    """Where a run is.

    Attributes:
        check: what is asked; its number, from 0, and how many are asked.
        what: the evidence that is made for it, and for how many samples it is there; empty at its start.
        passes: of 200 samples, that all checks declare; share: of them, what lies behind.
        seconds: that those passes take here; None where no pass could be timed.
    """

    check: str
    number: int
    checks: int
    what: str = ""
    done: int = 0
    of: int = 0
    passes: int = 0
    share: float = 0.0
    seconds: float | None = None


Watch = Callable[[Tick], None]


class Course:
    """Turns what a run knows into ticks. Several checks may be asked at once.

    Args:
        checks: what is asked, in order. rows: of the network, that each declares.
        pace: seconds that a row takes.
    """

    def __init__(
        self, checks: Sequence[str], rows: Sequence[int], watch: Watch, pace: float | None = None
    ) -> None:
        self.checks, self.costs, self.watch = checks, [1 + cost for cost in rows], watch
        self.passes = -(-sum(rows) // ROWS)
        self.seconds = None if pace is None else pace * sum(rows)
        self.number, self.share = 0, 0.0
        self.behind = dict[int, float]()  # check → the share of it that is done

    def begin(self, number: int) -> None:
        """A check is asked."""
        self.number = number
        self.report("", 0, 0)

    def end(self, number: int) -> None:
        """A check has answered."""
        self.behind[number] = 1.0

    def report(self, what: str, done: int, of: int, number: int | None = None) -> None:
        """Some samples of a piece of evidence are there.

        Args:
            number: of the check that asked for it; that which was begun last where None.
        """
        number = self.number if number is None else number
        self.behind[number] = done / of if of else 0.0
        behind = sum(self.costs[n] * share for n, share in self.behind.items())
        # A check may make several pieces of evidence: it never goes back.
        self.share = max(self.share, behind / sum(self.costs))
        self.watch(
            Tick(
                self.checks[number],
                number,
                len(self.checks),
                what,
                done,
                of,
                self.passes,
                self.share,
                self.seconds,
            )
        )

"""What came of keeping evidence. Imports no torch: it goes from a worker to the run it works for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Ledger:
    """What came of keeping evidence, over all stores of one audit.

    Attributes:
        computed, reused: how many batches were made, and how many were found.
        damaged: how many files did not hold what was kept in them, and were made again.
        rejected: producers whose kept answers were others when they were asked again; all of theirs were
            made again.
        unwritable: why nothing can be kept in the folder; empty where it can.
        confirmed: producers that were asked again.
        made: keys of what was made since.
    """

    computed: int = 0
    reused: int = 0
    damaged: int = 0
    rejected: set[str] = field(default_factory=set)
    unwritable: str = ""
    confirmed: set[str] = field(default_factory=set)
    made: set[str] = field(default_factory=set)

    @property
    def told(self) -> dict[str, Any]:
        """What is to be said of it."""
        return {
            "computed": self.computed,
            "reused": self.reused,
            **({"damaged": self.damaged} if self.damaged else {}),
            **({"rejected": sorted(self.rejected)} if self.rejected else {}),
            **({"unwritable": self.unwritable} if self.unwritable else {}),
        }

    def begun_by(self, other: Ledger) -> None:
        """Go on where others are: what they rejected, and what they have made since."""
        self.rejected |= other.rejected
        self.made |= other.made

    def since(self, made: set[str]) -> dict[str, Any]:
        """All of it as data, without the keys that were told before; from here on it counts anew."""
        data = {**self.told, "made": sorted(self.made - made)}
        self.computed = self.reused = self.damaged = 0
        return data

    def add(self, data: dict[str, Any]) -> None:
        """Add what another counted."""
        self.computed += int(data.get("computed", 0))
        self.reused += int(data.get("reused", 0))
        self.damaged += int(data.get("damaged", 0))
        self.rejected |= set(map(str, data.get("rejected", ())))
        self.unwritable = self.unwritable or str(data.get("unwritable", ""))
        self.made |= set(map(str, data.get("made", ())))

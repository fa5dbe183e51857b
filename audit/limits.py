"""How much memory a worker may take, found from the machine. Imports no torch."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

SHARE = 0.9  # of what the machine has
OF_OURS = "500"  # the system that is short of memory ends a worker before anything else


def memory_limit() -> int:
    """Bytes that workers may take: most of the machine's, or of what its control group is given."""
    try:
        machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):  # a system that does not tell
        return sys.maxsize
    return int(SHARE * min([machine, *group_limits()]))


def group_limits() -> list[int]:
    """What the control groups of this process are given; of either version, none where there are none."""
    root = Path("/sys/fs/cgroup")
    places = [root / "memory/memory.limit_in_bytes"]
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            number, kinds, path = line.split(":", 2)
            inner = Path(path.lstrip("/"))
            if number == "0":
                places += [root / p / "memory.max" for p in (inner, *inner.parents)]
            elif "memory" in kinds.split(","):
                places.append(root / "memory" / inner / "memory.limit_in_bytes")
    found = []
    for place in places:
        with contextlib.suppress(OSError, ValueError):
            found.append(int(place.read_text()))
    return [limit for limit in found if limit > 0]


def oom_kills() -> int:
    """How many processes the system has ended for want of memory; 0 where it does not tell."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def limit_memory(most: int) -> None:
    """Let this process take no more: what asks for more is refused, and raises.

    Address space that is only reserved is not counted.
    """
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(OF_OURS)
    if sys.platform == "linux":
        import resource

        with contextlib.suppress(ValueError, OSError):
            hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
            most = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(resource.RLIMIT_DATA, (most, hard))

"""Are faults found of the same kind, but elsewhere than where the check was tuned?

Each planted fault of `audit.zoo.faults` has neighbours here: the same kind of fault in other data, in
another architecture, or by another mechanism. No check was tuned on them, and none may be: what is
missed stays in the table. Each is planted from several training seeds, and so is its clean twin, made the
same way without the fault; the check that must find the fault is asked at profile quick. Written:
`benchmarks/detection/neighbours.md`, with the recall where the check was tuned beside it. A run that was
killed goes on where it was.

    python benchmarks/neighbours.py [FAULT]... [--seeds 10] [--clean-seeds 5]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import warnings
from pathlib import Path
from typing import Any

import torch
from detection import HERE
from variants import NEIGHBOURS, Neighbour

import audit

PATH = HERE / "neighbours.jsonl"
GATING = ("high", "critical")


def ask(n: Neighbour, faulty: bool, seed: int) -> dict[str, Any]:
    """Does the check fail on what it must fail on, or at severity high or above on anything else?"""
    from audit.selftesting import detect
    from audit.zoo.faults import faults

    fault, subject = faults()[n.fault], n.plant(faulty, seed)
    if fault.verdict:
        found = detect(fault, subject, "quick", seed, None)
        flagged, state = found.flagged, found.state
    else:
        check = audit.run(subject, [fault.check], profile="quick", seed=seed).check(fault.check)
        state = check.state
        flagged = any(
            e.state == "failed" and (e.metric == fault.metric or e.severity in GATING)
            for e in check.expectations
        )
    return {
        "fault": n.fault,
        "what": n.what,
        "faulty": faulty,
        "seed": seed,
        "flagged": flagged,
        "state": state,
    }


def tuned(name: str) -> tuple[int, int]:
    """How many of how many were found at the stated dose, where the check was tuned; (0, 0): unmeasured."""
    from detection import earlier

    from audit.words import number
    from audit.zoo.faults import faults

    lines = earlier()[1].get(name, "").split("\n")
    rows = [
        [c.strip() for c in line.strip("|").split("|")] for line in lines if line.startswith("|")
    ]
    for dose, cell in zip(rows[0], rows[2], strict=True) if rows else ():
        if dose == number(faults()[name].dose):
            found, _, n = cell.partition("/")
            return int(found), int(n)
    return 0, 0


def publish(rows: list[dict[str, Any]]) -> None:
    """Write the table of what was found."""
    from audit.statistics import wilson
    from audit.words import share
    from audit.zoo.faults import faults

    def told(found: int, n: int) -> str:
        if not n:
            return "not measured"
        low, high = wilson(found, n)
        return f"{found} of {n} ({share(low)} to {share(high)})"

    def counted(own: list[dict[str, Any]], faulty: bool) -> tuple[int, int]:
        chosen = [r["flagged"] for r in own if r["faulty"] == faulty]
        return sum(chosen), len(chosen)

    lines = [
        "# Neighbours: faults that no check was tuned on",
        "",
        "Faults of the same kinds as the planted ones, in other data, in other architectures or by other",
        "mechanisms (`benchmarks/variants/` says which), planted from several training seeds, as their",
        "clean twins are. No check was tuned on them. Found: the check fails on the metric of the planted",
        "fault, or at severity high on another; undecided is a miss. Shares with Wilson 95 % intervals;",
        "seeds of one neighbour are alike, so that intervals over several are too short. Where tuned: the",
        "fault of [README.md](README.md) at its stated dose. A neighbour must do harm to be one: five that a",
        "first seed showed to change next to nothing in what the model answers (bias against a group that no",
        "column tells, a class of which seven samples sufficed, a mark that was not needed) were planted",
        "otherwise, and then counted.",
        "",
        "| fault | check | found where tuned | neighbours found | false alarms on their clean twins |",
        "|---|---|---|---|---|",
    ]
    names = sorted({r["fault"] for r in rows})
    for name in names:
        own = [r for r in rows if r["fault"] == name]
        lines.append(
            f"| `{name}` | `{faults()[name].check or 'the verdict'}` | {told(*tuned(name))} | "
            f"{told(*counted(own, True))} | {told(*counted(own, False))} |"
        )
    lines += [
        f"| all | | | {told(*counted(rows, True))} | {told(*counted(rows, False))} |",
        "",
        "## One by one",
        "",
        "| fault | neighbour | found | false alarms |",
        "|---|---|---|---|",
    ]
    for name in names:
        for what in dict.fromkeys(n.what for n in NEIGHBOURS if n.fault == name):
            own = [r for r in rows if r["fault"] == name and r["what"] == what]
            if own:
                (a, n), (b, m) = counted(own, True), counted(own, False)
                lines.append(f"| `{name}` | {what} | {a} of {n} | {b} of {m} |")
    Path(HERE / "neighbours.md").write_text("\n".join(lines) + "\n")


def main() -> None:
    """Plant every variant and its clean twin, and publish."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__)
    names = sorted({n.fault for n in NEIGHBOURS})
    parser.add_argument("fault", nargs="*", choices=[[], *names], help="default: all")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--clean-seeds", type=int, default=5)
    options = parser.parse_args()
    rows = [json.loads(line) for line in PATH.read_text().splitlines()] if PATH.exists() else []
    done = {(r["fault"], r["what"], r["faulty"], r["seed"]) for r in rows}
    with open(PATH, "a") as file:
        for seed in range(max(options.seeds, options.clean_seeds)):
            for n in NEIGHBOURS:
                for faulty, most in ((True, options.seeds), (False, options.clean_seeds)):
                    if seed >= most or (n.fault, n.what, faulty, seed) in done:
                        continue
                    if options.fault and n.fault not in options.fault:
                        continue
                    rows.append(ask(n, faulty, seed))
                    file.write(json.dumps(rows[-1]) + "\n")
                    file.flush()
            print(f"seed {seed} done", flush=True)
    publish(rows)


if __name__ == "__main__":
    main()

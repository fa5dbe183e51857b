"""How strong must a fault be for its check to find it, and how often is there a false alarm?

Every graded fault of `audit.zoo.faults` is planted at each of its doses from ten training seeds, and
at dose zero from a hundred; its check is asked at profile quick, or the whole audit where no check can
tell. Written: a figure for each fault and a table, `benchmarks/detection/`. And all checks are asked of a
hundred clean models of two kinds: how often does any cry wolf? A run that was killed goes on where it
was: `results.jsonl` holds a line for each model audited. What a run does not measure keeps its figures of
an earlier one.

    python benchmarks/detection.py [FAULT]... [--seeds 10] [--clean-seeds 100] [--jobs 2]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import multiprocessing
import re
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audit.zoo.faults import Fault

HERE = Path(__file__).parent / "detection"
# One model of another kind each would only repeat what the unit tests say: these have no dose.
UNGRADED = {"batch-statistics", "nan-weights", "zero-layer", "swapped-classes"}
# Clean models that all checks are asked of: the twins of these faults.
CLEAN = ("dead-relu", "overconfident")
WHOLE = "all checks"


def measure(task: tuple[str, int, list[float]]) -> list[dict[str, Any]]:
    """Plant one fault from one seed at several doses, and ask its check."""
    warnings.simplefilter("ignore")
    import torch

    from audit.runner import run
    from audit.selftesting import alarms, detect
    from audit.zoo.faults import faults

    torch.set_num_threads(1)
    name, seed, doses = task
    fault = faults()[name.removeprefix(f"{WHOLE}: ")]
    if name.startswith(WHOLE):
        record = run(fault.plant(fault.clean, seed), profile="quick", seed=seed)
        found = [a for a in alarms(record, fault.model) if a.severity in ("high", "critical")]
        judged = {
            c.id
            for c in record.checks
            for e in c.expectations
            if e.severity in ("high", "critical") and e.state != "untested"
        }
        return [
            {
                "fault": name,
                "dose": fault.clean,
                "seed": seed,
                "judged": sorted(judged),
                "alarms": sorted({a.check for a in found if not a.declared}),
            }
        ]
    rows = []
    for dose in doses:
        subject = fault.plant(dose, seed)
        found = detect(fault, subject, "quick", seed, None)
        rows.append(
            {
                "fault": name,
                "dose": dose,
                "seed": seed,
                "flagged": found.flagged,
                "state": found.state,
            }
        )
    return rows


def tasks(
    names: Iterable[str], seeds: int, clean_seeds: int, done: set[tuple[str, float, int]]
) -> list[tuple[str, int, list[float]]]:
    """The (fault, seed, doses) that are not measured yet."""
    from audit.zoo.faults import faults

    found = []
    for name in names:
        if name.startswith(WHOLE):
            clean = faults()[name.removeprefix(f"{WHOLE}: ")].clean
            found += [
                (name, seed, [clean])
                for seed in range(clean_seeds)
                if (name, clean, seed) not in done
            ]
            continue
        fault = faults()[name]
        for seed in range(max(seeds, clean_seeds)):
            doses = [
                d
                for d in fault.doses
                if seed < (clean_seeds if d == fault.clean else seeds)
                and (name, d, seed) not in done
            ]
            if doses:
                found.append((name, seed, doses))
    return found


def read() -> list[dict[str, Any]]:
    """The results so far, a dictionary each."""
    path = HERE / "results.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def rates(rows: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """For each dose of a fault: how many of how many were flagged, with the Wilson interval."""
    from audit.statistics import wilson
    from audit.zoo.faults import faults

    found = []
    for dose in faults()[name].doses:
        own = [r["flagged"] for r in rows if r["fault"] == name and r["dose"] == dose]
        if own:
            low, high = wilson(sum(own), len(own))
            found.append(
                {
                    "dose": dose,
                    "flagged": sum(own),
                    "n": len(own),
                    "low": low,
                    "high": high,
                    "share": sum(own) / len(own),
                }
            )
    return found


def asked(fault: Fault) -> str:
    """The check that must find it; of some faults only the whole audit can tell."""
    return fault.check or "the verdict"


def draw(name: str, points: list[dict[str, Any]]) -> None:
    """Share flagged against dose, with intervals, as SVG."""
    import altair as alt
    import vl_convert

    from audit.zoo.faults import faults

    fault = faults()[name]
    rows = [{**p, "label": f"{p['dose']:g}"} for p in points]
    base = alt.Chart(alt.Data(values=rows))  # type: ignore[attr-defined]
    x = alt.X(
        "label:O", sort=[r["label"] for r in rows], title=fault.unit, axis=alt.Axis(labelAngle=0)
    )
    scale = alt.Scale(domain=[0, 1])
    chart = alt.layer(
        base.mark_line(color="#0072B2").encode(
            x, alt.Y("share:Q", scale=scale, title="share flagged")
        ),
        base.mark_rule(color="#0072B2", strokeWidth=2).encode(
            x, alt.Y("low:Q", scale=scale), alt.Y2("high:Q")
        ),
        base.mark_point(color="#0072B2", filled=True, size=60, opacity=1).encode(
            x, alt.Y("share:Q", scale=scale)
        ),
    ).properties(width=360, height=180, title=f"{name}: {asked(fault)}", background="white")
    svg = vl_convert.vegalite_to_svg(chart.to_json(), allowed_base_urls=[])
    (HERE / f"{name}.svg").write_text(svg)


def sentence(points: list[dict[str, Any]]) -> str:
    """'found from 0.95 in 10 of 10; at 0.6 and below in none'."""
    faulty = points[1:]
    surely = next(
        (i for i in range(len(faulty)) if all(p["flagged"] == p["n"] for p in faulty[i:])), None
    )
    never = [p for p in faulty if p["flagged"] == 0]
    words = []
    if surely is not None:
        p = faulty[surely]
        words.append(f"found from {p['dose']:g} in {p['flagged']} of {p['n']}")
    else:
        words.append(
            f"at {faulty[-1]['dose']:g} found in {faulty[-1]['flagged']} of {faulty[-1]['n']}"
        )
    if never:
        words.append(f"at {never[-1]['dose']:g} in none")
    return "; ".join(words)


def publish(rows: list[dict[str, Any]]) -> None:
    """Write the curves and tables that the README shows."""
    from audit.words import number, share
    from audit.zoo.faults import faults

    whole = [r for r in rows if r["fault"].startswith(WHOLE)]
    rows = [r for r in rows if not r["fault"].startswith(WHOLE)]
    table, sections = earlier()
    for name in dict.fromkeys(r["fault"] for r in rows):
        points = rates(rows, name)
        fault = faults()[name]
        clean = points[0]
        draw(name, points)
        table[name] = (
            f"| `{name}` | `{asked(fault)}` | {fault.unit} | {sentence(points)} | "
            f"{clean['flagged']} of {clean['n']} (at most {share(clean['high'])}) |"
        )
        cells = " | ".join(f"{p['flagged']}/{p['n']}" for p in points)
        heads = " | ".join(number(p["dose"]) for p in points)
        sections[name] = "\n".join(
            [
                f"## {name}",
                "",
                f"{fault.what[0].upper()}{fault.what[1:]} ({fault.term}); in "
                f"`{fault.model}`, found by `{asked(fault)}` ({fault.metric or fault.verdict}).",
                "",
                f"| {fault.unit} | {heads} |",
                "|---" * (len(points) + 1) + "|",
                f"| flagged | {cells} |",
                "",
                f"![share flagged against dose]({name}.svg)",
            ]
        )
    if whole:
        sections[SUITE] = "\n".join(whole_suite(whole)).strip()
    counted = [re.search(r"\| (\d+) of (\d+) \(", row) for row in table.values()]
    alarms, models = (sum(int(found[i]) for found in counted if found) for i in (1, 2))
    lines = [
        "# How strong a fault must be",
        "",
        "Each fault planted at each dose from as many training seeds as are told, its check asked at",
        "profile quick. Shares with Wilson 95 % intervals. Made by `python benchmarks/detection.py`; what",
        "each fault is: `audit selftest --list`. A fault is measured anew when its check changes: rows",
        "with 100 clean models were measured with earlier checks than those with fewer. How it is with",
        "faults of the same kind that no check was tuned on: [neighbours](neighbours.md).",
        "",
        "| fault | check | dose counts | in words | false alarms at dose zero |",
        "|---|---|---|---|---|",
        *(table[name] for name in sorted(table)),
        "",
        f"Together {alarms} false alarms on {models:,} clean models.",
        "",
    ]
    order = sorted(sections, key=lambda name: (name != SUITE, name))
    parts = ["\n".join(lines), *(f"{sections[name]}\n" for name in order)]
    (HERE / "README.md").write_text("\n".join(parts))


SUITE = "All checks on clean models"


def earlier() -> tuple[dict[str, str], dict[str, str]]:
    """What was published last: the table's rows by fault, and the sections by title."""
    path = HERE / "README.md"
    if not path.exists():
        return {}, {}
    head, *parts = path.read_text().split("\n## ")
    rows = {m[1]: m[0] for m in re.finditer(r"^\| `([a-z0-9-]+)` \|.*$", head, re.M)}
    return rows, {p.split("\n")[0]: f"## {p.strip()}" for p in parts}


def whole_suite(rows: list[dict[str, Any]]) -> list[str]:
    """How often each check failed at severity high or above on clean models, undeclared."""
    from audit.statistics import wilson
    from audit.words import share
    from audit.zoo.faults import faults

    models = {r["fault"]: faults()[r["fault"].removeprefix(f"{WHOLE}: ")].model for r in rows}
    lines = [
        f"## {SUITE}",
        "",
        f"Every check asked of {len(rows)} clean models ({', '.join(models.values())}, each from another "
        "seed): how often it",
        "fails an expectation of severity high or above that the card does not declare.",
        "",
        "| check | false alarms | 95 % interval |",
        "|---|---|---|",
    ]
    for check in sorted({c for r in rows for c in r["judged"]}):
        n = sum(check in r["judged"] for r in rows)
        bad = sum(check in r["alarms"] for r in rows)
        low, high = wilson(bad, n)
        lines.append(f"| `{check}` | {bad} of {n} | {share(low)} to {share(high)} |")
    any_ = sum(bool(r["alarms"]) for r in rows)
    low, high = wilson(any_, len(rows))
    return [*lines, f"| any | {any_} of {len(rows)} | {share(low)} to {share(high)} |", ""]


def main() -> None:
    """Measure what is missing, then publish."""
    from audit.zoo.faults import faults

    parser = argparse.ArgumentParser(description=__doc__)
    everything = [
        *(name for name in faults() if name not in UNGRADED),
        *(f"{WHOLE}: {n}" for n in CLEAN),
    ]
    parser.add_argument("fault", nargs="*", choices=[[], *everything], help="default: all")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--clean-seeds", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=max(1, (os.cpu_count() or 2)))
    options = parser.parse_args()
    names = options.fault or everything
    HERE.mkdir(exist_ok=True)
    rows = read()
    done = {(r["fault"], r["dose"], r["seed"]) for r in rows}
    # Faults of the same seed one after the other: they share what was trained.
    todo = sorted(tasks(names, options.seeds, options.clean_seeds, done), key=lambda task: task[1])
    context = multiprocessing.get_context("spawn")
    with context.Pool(options.jobs) as pool, open(HERE / "results.jsonl", "a") as file:
        for count, found in enumerate(pool.imap_unordered(measure, todo), 1):
            for row in found:
                file.write(json.dumps(row) + "\n")
            file.flush()
            print(f"\r{count} of {len(todo)} models", end="", flush=True)
    publish(read())
    print(f"\n{HERE / 'README.md'}")


if __name__ == "__main__":
    main()

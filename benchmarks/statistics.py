"""Are the rulers straight? Coverage and power of every kind of interval, by simulation.

`python benchmarks/statistics.py [DRAWS] [coverage|errors|power]` prints the tables of `statistics.md`
(1,000 draws: a quarter of an hour on one core). "Missed below" is how often all of the interval lies
above the truth, "missed above" how often below it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import numpy as np
from scipy import optimize, stats

from audit import statistics
from audit.record import Metric

NEAR = 0.3  # standard deviations of identities, that samples of one lie apart
# Of differences of mates and of strangers: where as many lie beyond it as within it.
EQUAL = float(
    2
    * stats.norm.sf(
        optimize.brentq(
            lambda t: 2 * stats.norm.sf(t / NEAR) - 1 + 2 * stats.norm.sf(t / (1 + NEAR**2) ** 0.5),
            1e-6,
            9.0,
        )
        / NEAR
    )
)
Draw = Callable[[np.random.Generator], tuple[Metric, float]]


def groups(rates: list[float], sizes: list[int], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Groups of given sizes, drawn at given rates."""
    return {str(i): rng.random(n) < p for i, (p, n) in enumerate(zip(rates, sizes, strict=True))}


def kinds() -> Iterator[tuple[str, Draw]]:
    """(name, one draw → metric and truth)."""
    yield from shares_and_means()
    yield from differences()
    yield from of_whole_samples()
    yield from between_groups()
    yield from calibration_errors()


def shares_and_means() -> Iterator[tuple[str, Draw]]:
    """One group of samples, alone or in clusters."""
    for n, p in [(30, 0.05), (30, 0.5), (200, 0.02), (500, 0.9), (2000, 0.99)]:
        yield (
            f"share, n = {n}, p = {p}",
            (lambda rng, n=n, p=p: (statistics.proportion("p", rng.random(n) < p), p)),
        )
    for k, m in [(10, 20), (60, 10)]:

        def clustered(rng: np.random.Generator, k: int = k, m: int = m) -> tuple[Metric, float]:
            hit = rng.random(k * m) < np.repeat(rng.beta(2, 2, k), m)
            return statistics.proportion("p", hit, clusters=np.repeat(np.arange(k), m)), 0.5

        yield f"share, {k} clusters of {m}", clustered
    for n, b, c in [(50, 0.1, 0.05), (200, 0.02, 0.0), (500, 0.1, 0.1)]:

        def paired(
            rng: np.random.Generator, n: int = n, b: float = b, c: float = c
        ) -> tuple[Metric, float]:
            d = rng.choice([1, -1, 0], n, p=[b, c, 1 - b - c])
            return statistics.mean("d", d, edges=(-1, 1)), b - c

        yield f"paired difference, n = {n}, {b} gained, {c} lost", paired
    for n in (20, 200):
        yield (
            f"mean of normal values, n = {n}",
            (lambda rng, n=n: (statistics.mean("m", rng.normal(size=n)), 0.0)),
        )
        yield (
            f"mean of exponential values, n = {n}",
            (lambda rng, n=n: (statistics.mean("m", rng.exponential(size=n)), 1.0)),
        )


def differences() -> Iterator[tuple[str, Draw]]:
    """Two groups of samples, one taken from the other."""
    for n, m, p, q in [(30, 30, 0.9, 0.6), (200, 1000, 0.95, 0.9)]:
        yield (
            f"difference of shares, n = {n} and {m}, {p} and {q}",
            (
                lambda rng, n=n, m=m, p=p, q=q: (
                    statistics.difference("d", rng.random(n) < p, rng.random(m) < q),
                    p - q,
                )
            ),
        )
    yield (
        "difference of means (Welch), n = 30 and 100",
        (
            lambda rng: (
                statistics.difference("d", rng.normal(0.5, 1, 30), rng.normal(0, 3, 100)),
                0.5,
            )
        ),
    )


def of_whole_samples() -> Iterator[tuple[str, Draw]]:
    """Statistics that no single sample has a part of."""
    for shift in (0.0, 1.0, 2.5):
        yield (
            f"AUROC, n = 60 and 80, shift {shift}",
            (
                lambda rng, s=shift: (
                    statistics.auroc("a", rng.normal(s, 1, 60), rng.normal(0, 1, 80)),
                    float(stats.norm.cdf(s / np.sqrt(2))),
                )
            ),
        )
    for n in (50, 200):

        def variance(rng: np.random.Generator, n: int = n) -> tuple[Metric, float]:
            data = rng.normal(size=n)
            return statistics.bootstrap(
                "v", lambda i: data[i].var(1), n, draws=500, edges=None
            ), 1.0

        yield f"BCa bootstrap of a variance, n = {n}", variance

    for n in (60, 200):

        def scale(rng: np.random.Generator, n: int = n) -> tuple[Metric, float]:
            data = rng.exponential(size=n)
            return statistics.jackknife("s", lambda i: float(data[i].mean()), n), 1.0

        yield f"delete-a-group jackknife of a mean above 0, n = {n}", scale

    def verified(rng: np.random.Generator) -> tuple[Metric, float]:
        whose = np.arange(30).repeat(3)
        place = rng.normal(size=30)[whose] + rng.normal(0, NEAR, len(whose))
        ends = np.stack(np.triu_indices(len(whose), 1), 1)
        apart = -np.abs(place[ends[:, 0]] - place[ends[:, 1]])
        same = whose[ends[:, 0]] == whose[ends[:, 1]]
        return statistics.verification(apart, same, whose[ends], draws=300)[0], EQUAL

    yield "equal error rate, 30 identities of 3", verified


def between_groups() -> Iterator[tuple[str, Draw]]:
    """Several groups of samples, the largest gap between any two."""
    for rates, sizes in [
        ([0.9, 0.6], [30, 30]),
        ([0.2, 0.5, 0.35], [300] * 3),
        ([0.8] * 5 + [0.6], [100] * 6),
        ([0.95, 0.85], [20, 400]),
    ]:
        name = f"{rates}, n = {sizes}"
        yield (
            f"largest gap of {name}",
            (
                lambda rng, r=rates, s=sizes: (
                    statistics.gap_between("g", groups(r, s, rng)),
                    max(r) - min(r),
                )
            ),
        )
        yield (
            f"smallest ratio of {name}",
            (
                lambda rng, r=rates, s=sizes: (
                    statistics.ratio_between("r", groups(r, s, rng)),
                    min(r) / max(r),
                )
            ),
        )
    yield (
        "largest gap of means, 3 x 60",
        (
            lambda rng: (
                statistics.gap_between_means(
                    "m", {str(m): rng.normal(m, 1, 60) for m in (0.0, 0.5, 1.0)}
                ),
                1.0,
            )
        ),
    )


def calibration_errors() -> Iterator[tuple[str, Draw]]:
    """Confidences that are off by a known amount, in different shapes."""
    for n in (100, 200, 500, 2000):
        for truth in (0.05, 0.15):
            for shape, off in SHAPES.items():
                yield (
                    f"calibration error {truth}, n = {n}, {shape}",
                    (lambda rng, n=n, t=truth, off=off: (calibration(n, t, off, rng), t)),
                )


SHAPES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "too sure everywhere": lambda u: np.ones_like(u),
    "bent": lambda u: 4 * (u - 0.5),
    "a step": lambda u: np.sign(u - 0.5),
}


def calibration(
    n: int, truth: float, off: Callable[[np.ndarray], np.ndarray], rng: np.random.Generator
) -> Metric:
    """The calibration error of one draw whose true error is known."""
    u = rng.random(n)
    p = 0.6 + 0.1 * u
    return statistics.calibration_error(p, rng.random(n) < p - truth * off(u))


FAMILIES = [  # sizes and the rate that all share
    ([3, 3], 0.5),
    ([10, 10], 0.5),
    ([30, 30], 0.1),
    ([30, 30], 0.5),
    ([500, 500], 0.9),
    ([10, 300], 0.5),
    ([3, 200], 0.9),
    ([1, 200], 0.5),
    ([100] * 5, 0.2),
    ([100] * 20, 0.5),
    ([10, 20, 50, 200, 800], 0.5),
    ([20, 1000, 1000, 1000], 0.9),
]
POWER = [
    ([30, 30], [0.9, 0.6]),
    ([100, 100], [0.9, 0.8]),
    ([20, 400], [0.6, 0.9]),
    ([500, 500], [0.1, 0.15]),
]


def coverage(draws: int) -> list[str]:
    """How often each interval holds the truth, a row each."""
    rows = ["| interval | covers | missed below | missed above | bias |", "|---|---|---|---|---|"]
    for name, draw in kinds():
        rng = np.random.default_rng(0)
        found = np.array(
            [
                (m.low > truth + 1e-9, m.high < truth - 1e-9, m.value - truth)
                for m, truth in (draw(rng) for _ in range(draws))
            ]
        )
        below, above, bias = found.mean(0)
        rows.append(
            f"| {name} | {1 - below - above:.3f} | {below:.3f} | {above:.3f} | {bias:+.3f} |"
        )
    return rows


def errors(draws: int) -> list[str]:
    """How often groups that are equal are said to differ."""
    rows = ["| equal groups | rate | said to differ |", "|---|---|---|"]
    for sizes, p in FAMILIES:
        rng = np.random.default_rng(0)
        wrong = np.mean(
            [
                statistics.gap_between("g", groups([p] * len(sizes), sizes, rng)).low > 0
                for _ in range(draws)
            ]
        )
        shown = f"{len(sizes)} x {sizes[0]}" if len(set(sizes)) == 1 else ", ".join(map(str, sizes))
        rows.append(f"| {shown} | {p} | {wrong:.3f} |")
    for n in (100, 500, 2000):
        rng = np.random.default_rng(0)
        wrong, over, refused = np.mean([calibrated(n, seed, rng) for seed in range(draws)], axis=0)
        rows.append(f"| calibrated, n = {n}: error > 0 | | {wrong:.3f} |")
        rows.append(f"| calibrated, n = {n}: error > .05 | | {over:.3f} |")
        rows.append(f"| calibrated, n = {n}: test p < .05 | | {refused:.3f} |")
    return rows


def calibrated(n: int, seed: int, rng: np.random.Generator) -> tuple[bool, bool, bool]:
    """Do the interval and the test raise an alarm on a calibrated model?"""
    p = rng.uniform(0.5, 1, n)
    hit = rng.random(n) < p
    low = statistics.calibration_error(p, hit).low or 0.0
    test = statistics.calibration_test(p, hit, seed=seed, draws=200).value
    return low > 0, low > 0.05, test is not None and test < 0.05


def power(draws: int) -> list[str]:
    """How often a true difference is seen, ours beside the textbook's."""
    rows = ["| what is to be seen | ours | textbook |", "|---|---|---|"]
    for sizes, rates in POWER:
        rng = np.random.default_rng(0)
        ours, theirs = [], []
        for _ in range(draws):
            drawn = groups(rates, sizes, rng)
            a, b = drawn.values()
            pooled = np.concatenate([a, b]).mean()
            spread = np.sqrt(pooled * (1 - pooled) * sum(1 / n for n in sizes))
            ours.append(statistics.gap_between("g", drawn).low > 0)
            theirs.append(abs(a.mean() - b.mean()) > 1.96 * spread)
        rows.append(
            f"| {rates}, n = {sizes}: a gap (pooled z test) | {np.mean(ours):.2f} "
            f"| {np.mean(theirs):.2f} |"
        )
    for n in (100, 200, 500, 2000):
        rng = np.random.default_rng(0)
        ours, theirs = [], []
        for _ in range(draws):
            p = rng.uniform(0.6, 0.95, n)
            hit = rng.random(n) < p - 0.15
            ours.append((statistics.calibration_error(p, hit).low or 0.0) > 0.05)
            over = statistics.mean("o", p - hit)
            theirs.append((over.low or 0.0) > 0.05)
        rows.append(
            f"| too sure by .15, n = {n}: error > .05 (t test of the mean gap) | "
            f"{np.mean(ours):.2f} | {np.mean(theirs):.2f} |"
        )
    return rows


TABLES = {"coverage": coverage, "errors": errors, "power": power}
TITLES = {"coverage": "Coverage of 95 % intervals", "errors": "False alarms", "power": "Power"}


def main(draws: int, tables: list[str]) -> None:
    """Print the tables that are named, or all."""
    for name in tables or TABLES:
        print(f"## {TITLES[name]}\n")
        print("\n".join(TABLES[name](draws)), flush=True)
        print()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000, sys.argv[2:])

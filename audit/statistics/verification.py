"""Are two the same? What is read off scores of pairs, whose ends stand in several pairs each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from audit.record import Metric, Slice
from audit.statistics.intervals import QUANTILES, quantiles_of, undefined, unseen

FEWEST = 10  # false matches that a rate must stand for


def verification(
    scores: ArrayLike,
    same: ArrayLike,
    ends: NDArray[np.intp],
    *,
    rates: Sequence[float] = (),
    seed: int = 0,
    draws: int = 500,
) -> list[Metric]:
    """The equal error rate of pairs, and the share of true matches found at rates of false matches.

    Percentile intervals of the bootstrap by ends (Snijders and Borgatti 1999; Bolle et al. 2004 on
    biometrics): identities are drawn, and a pair counts as often as both of its ends were, so that pairs
    that share an end are not taken for independent ones.

    Args:
        scores: [m] of pairs, higher for the more similar.
        same: [m] are the two one identity?
        ends: [m, 2] the identities, or the samples, that a pair joins.
        rates: of false matches; one that the pairs are too few to tell has no value.

    Returns:
        equal_error_rate, and true_match_rate at each rate.
    """
    score, true = np.asarray(scores, dtype=np.float64), np.asarray(same, dtype=bool)
    false = ~true
    if true.sum() < 2 or false.sum() < 2:
        reason = "fewer than two pairs of one kind"
        return [undefined("equal_error_rate", reason, n=len(true), direction="lower")]
    order = np.argsort(-score, kind="stable")
    last = np.r_[np.diff(score[order]) != 0, True]  # of those that one threshold cannot tell apart
    members, joined = np.unique(ends[order], return_inverse=True)
    joined = joined.reshape(-1, 2)
    alike, matched = joined[:, 0] == joined[:, 1], true[order]

    def read(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """[b, m] how often each pair counts → [b, 1 + rates]."""
        curves = []
        for kind in (matched, ~matched):
            total = np.cumsum(weights * kind, 1)
            with np.errstate(invalid="ignore"):
                curves.append((total / total[:, -1:])[:, last])
        found, alarms = curves
        gap = np.abs(1 - found - alarms)
        at = gap.argmin(1)[:, None]
        values = [((1 - found + alarms) / 2)[np.arange(len(at)), at[:, 0]]]
        values += [np.where(alarms <= rate, found, 0).max(1) for rate in rates]
        return np.stack(values, 1)

    value = read(np.ones((1, len(true))))[0]
    rng = np.random.default_rng([seed, len(members)])
    chunk, drawn = max(1, 4_000_000 // len(true)), []
    for start in range(0, draws, chunk):
        many = min(chunk, draws - start)
        picked = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), many)
        weights = picked[:, joined[:, 0]].astype(np.float64)
        drawn.append(read(np.where(alike, weights, weights * picked[:, joined[:, 1]])))
    sampled = np.concatenate(drawn)
    strangers, mates = int(false.sum()), int(true.sum())
    metrics = [
        told("equal_error_rate", value[0], sampled[:, 0], len(true), len(members), "lower", {})
    ]
    for i, rate in enumerate(rates, 1):
        where: Slice = {"false_match_rate": rate}
        if strangers * rate < FEWEST:
            metrics.append(
                undefined(
                    "true_match_rate",
                    f"{strangers:,} pairs of strangers cannot tell so low a rate of false matches; "
                    f"{FEWEST / rate:,.0f} are needed",
                    n=mates,
                    slice=where,
                    direction="higher",
                )
            )
            continue
        metrics.append(
            told("true_match_rate", value[i], sampled[:, i], mates, len(members), "higher", where)
        )
    return metrics


def told(
    name: str,
    value: float,
    sampled: NDArray[np.float64],
    n: int,
    units: int,
    direction: str,
    where: Slice,
) -> Metric:
    """A rate with its percentile interval."""
    sampled = sampled[np.isfinite(sampled)]
    if len(sampled) == 0 or float(np.ptp(sampled)) < 1e-12:
        quantiles = quantiles_of(lambda q: unseen(value, (0, 1), units, q), (0, 1))
        estimator = "exact bound where nothing was seen to vary"
    else:
        ends = np.quantile(sampled, QUANTILES)
        quantiles = {str(q): round(float(e), 12) for q, e in zip(QUANTILES, ends, strict=True)}
        estimator = f"bootstrap by the ends of pairs, {len(sampled)} draws; percentile interval"
    return Metric(
        name=name,
        value=float(value),
        low=min(quantiles["0.025"], float(value)),
        high=max(quantiles["0.975"], float(value)),
        n=n,
        unit="",
        direction=direction,
        slice=where,
        estimator=estimator,
        edges=(0, 1),
        sufficient={"quantiles": quantiles},
    )

"""Two records of one kind of subject, paired sample by sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from audit.errors import AuditError
from audit.expecting import same_slice
from audit.outcomes import unpack
from audit.record import AuditRecord, CheckRecord, Metric, PerUnit, Slice
from audit.statistics import mcnemar


@dataclass(frozen=True)
class Change:
    """How one metric differs between two records.

    Attributes:
        n: samples that both records hold (paired), or of the newer record (unpaired).
        lost, gained: samples whose outcome was good and is no longer, and the reverse.
        p: two-sided p-value of no difference.
    """

    check: str
    metric: str
    slice: Slice
    before: float
    after: float
    n: int
    lost: int
    gained: int
    p: float
    paired: bool

    @property
    def worse(self) -> bool:
        return self.after < self.before


def compare(baseline: AuditRecord, record: AuditRecord) -> list[Change]:
    """Every per-unit metric of a question that both records hold.

    Paired by sample digest (exact McNemar test); where no sample is shared, unpaired (Fisher's
    exact test), and said so.

    Raises:
        AuditError: the baseline is of another task, or holds nothing that could be compared.
    """
    comparable(baseline, record.subject.task)
    changes = []
    for check in record.checks:
        old_check = next((c for c in baseline.checks if c.id == check.id), None)
        if old_check is None or check.kind == "trial":  # of which the model is not the subject
            continue
        for new in check.per_unit:
            old = next(
                (
                    p
                    for p in old_check.per_unit
                    if p.metric == new.metric and same_slice(p.slice, new.slice)
                ),
                None,
            )
            if old is not None:
                changes.append(_change(check, old, new, baseline, record))
    return changes


def comparable(baseline: AuditRecord, ours: str) -> None:
    """Raise AuditError where a baseline cannot be held against a subject whose task is `ours`."""
    theirs = baseline.subject.task
    if theirs and ours and theirs != ours:
        raise AuditError(
            f"The baseline is an audit of a model whose task is {theirs}, and this one's is {ours}; "
            "give a record of the same task."
        )
    if not any(c.per_unit for c in baseline.checks if c.kind == "question"):
        raise AuditError(
            "The baseline holds no outcome per sample that could be compared; give the record of an "
            "audit with data."
        )


def _change(
    check: CheckRecord,
    old: PerUnit,
    new: PerUnit,
    baseline: AuditRecord,
    record: AuditRecord,
) -> Change:
    before, after = _by_digest(old, baseline), _by_digest(new, record)
    shared = [digest for digest in after if digest in before]
    if shared:
        a = np.array([before[d] for d in shared])
        b = np.array([after[d] for d in shared])
        lost, gained, p = mcnemar(a, b)
        return Change(
            check.id,
            new.metric,
            new.slice,
            float(a.mean()),
            float(b.mean()),
            len(shared),
            lost,
            gained,
            p,
            True,
        )
    from scipy.stats import fisher_exact

    a, b = unpack(old), unpack(new)
    table = np.array([[a.sum(), (~a).sum()], [b.sum(), (~b).sum()]])
    p = float(fisher_exact(table).pvalue)
    return Change(
        check.id, new.metric, new.slice, float(a.mean()), float(b.mean()), len(b), 0, 0, p, False
    )


def _by_digest(outcomes: PerUnit, record: AuditRecord) -> dict[str, bool]:
    indices = range(outcomes.n) if outcomes.indices is None else outcomes.indices
    return {
        record.samples[i]: bool(good) for i, good in zip(indices, unpack(outcomes), strict=True)
    }


def unmatched(check: CheckRecord, baseline: AuditRecord) -> list[tuple[str, Slice, float]]:
    """(metric, slice, share then) of what the baseline measured of a check and this one did not."""
    old = next((c for c in baseline.checks if c.id == check.id and c.kind == "question"), None)
    return [
        (then.metric, then.slice, float(unpack(then).mean()) if then.n else 0.0)
        for then in (old.per_unit if old is not None else [])
        if not any(
            now.metric == then.metric and same_slice(now.slice, then.slice)
            for now in check.per_unit
        )
    ]


def metric_of(check: CheckRecord, name: str, slice_: Slice) -> Metric | None:
    """The metric of that name and slice, where the check measured it."""
    return next((m for m in check.metrics if m.name == name and same_slice(m.slice, slice_)), None)

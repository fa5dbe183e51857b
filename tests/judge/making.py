"""Records made by hand: no model is run where judging is tested."""

import numpy as np

from audit import statistics
from audit.expecting import Expectation
from audit.record import AuditRecord, CheckRecord, PolicyRecord, SubjectRecord, VerdictRecord

HIGH = {"metric": "share", "op": ">=", "bound": 0.5, "severity": "high"}
# Successes of 100 that put the interval on one side of .5, on the other, or across it.
SUCCESSES = {"met": 90, "failed": 10, "undecided": 52}


def share(k, n, name="share", **slice_):
    return statistics.proportion(name, np.arange(n) < k, slice=slice_)


def check(*metrics, expect=(), validity=(), **more):
    return CheckRecord(
        id=more.pop("id", "a.b"),
        kind="question",
        title="Is it?",
        state="untested",
        metrics=list(metrics),
        validity=list(validity),
        defaults=[Expectation(**e).model_dump() for e in expect],
        **more,
    )


def core(which, severity="high"):
    """A core question answered well: what a pass needs beside what is tested."""
    return check(
        share(90, 100), expect=[{**HIGH, "severity": severity}], id=f"core.{which}", core=which
    )


def unmeasured(why, check_id="a.b", **more):
    state = "broken" if why in ("raised", "not_importable") else "untested"
    return CheckRecord(
        id=check_id, kind="question", title="Is it?", state=state, why=why, reason="because", **more
    )


def record(*checks, n=100, samples=(), sound=True, **more):
    """A record of these checks, and of the core questions, answered well, where `sound`."""
    if sound:
        checks = [*checks, core("quality"), core("stability")]
    return AuditRecord(
        verdict=VerdictRecord(word="inconclusive", reason="", counts={}, exit_code=3),
        subject=SubjectRecord(model="m", n=n, task=more.pop("task", "")),
        policy=PolicyRecord(),
        checks=list(checks),
        samples=list(samples),
        **more,
    )

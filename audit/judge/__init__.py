"""Expectations, waivers and baseline → states, findings and the verdict.

Judges records, never models: a record is judged again under another policy without running
anything.

| file | what |
|---|---|
| `policy` | what decides: the user's expectations, waivers, the gate |
| `states` | a metric against a bound → met, failed, undecided, untested or broken, and why |
| `comparison` | two records, paired sample by sample |
| `findings` | what is not met, in words |
| `verdict` | pass, fail or inconclusive, and the sentence that gives its reason |
"""

from audit.judge.judging import judge, read_record
from audit.judge.policy import CheckExpectation, Policy, Waiver

__all__ = ["CheckExpectation", "Policy", "Waiver", "judge", "read_record"]

"""Audits a trained PyTorch model. `import audit` is cheap: torch comes with the first use.

subject = audit.Subject(model, x, y)
record = audit.run(subject)
measurement = audit.check("robustness.pgd", eps=8 / 255).measure(subject)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audit.artifact.checkpoint import save
    from audit.checking import Check, Context, Cost, Measurement
    from audit.errors import AuditError, NotApplicable
    from audit.expecting import Expectation
    from audit.loading import load
    from audit.record import AuditRecord, Figure, Guidance, LeftOut, Metric, Table, Validity
    from audit.runner import check, run
    from audit.subject import Subject

_HOMES = {
    "AuditError": "errors",
    "NotApplicable": "errors",
    "AuditRecord": "record",
    "Figure": "record",
    "Guidance": "record",
    "LeftOut": "record",
    "Metric": "record",
    "Table": "record",
    "Validity": "record",
    "Check": "checking",
    "Context": "checking",
    "Cost": "checking",
    "Expectation": "expecting",
    "Measurement": "checking",
    "Subject": "subject",
    "load": "loading",
    "check": "runner",
    "run": "runner",
    "save": "artifact.checkpoint",
}

__all__ = [
    "AuditError",
    "AuditRecord",
    "Check",
    "Context",
    "Cost",
    "Expectation",
    "Figure",
    "Guidance",
    "LeftOut",
    "Measurement",
    "Metric",
    "NotApplicable",
    "Subject",
    "Table",
    "Validity",
    "check",
    "load",
    "run",
    "save",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"audit.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'audit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

"""What a check measured, kept beside the evidence: asked the same of the same again, it is read.

The key holds all that decides a measurement: what decides evidence (`Store.base`), the training data,
the check with its parameters, the source of this package and of the check's own, the profile, how many
samples it is given. What is damaged, or was kept of anything else, is measured again.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import sys
from pathlib import Path
from types import ModuleType

from pydantic import ValidationError

from audit.checking import Check, Context
from audit.record import CheckRecord
from audit.seal import Damaged, sealed_text, unsealed_text

# What shows single samples of the data is kept under a name of its own, as evidence is.
PUBLIC, PRIVATE = ".json", ".samples.json"
MEASURED = "measured"


def remembered(check: Check, context: Context) -> CheckRecord | None:
    """What the check measured before, where it was asked the same; None where it was not."""
    path, store = place(check, context), context.store
    if path is None or (MEASURED in store.ledger.rejected and path.name not in store.ledger.made):
        return None
    try:
        found = CheckRecord.model_validate_json(unsealed_text(path, path.name))
    except OSError:
        return None
    except (Damaged, ValidationError):
        store.ledger.damaged += 1
        return None
    return found if found.id == check.id else None


def remember(check: Check, context: Context, record: CheckRecord) -> None:
    """Keep a measurement, where there is a folder and all of it can be written down."""
    path = place(check, context)
    ends = [e for m in record.metrics for e in (m.value, m.low, m.high) if e is not None]
    if path is not None and all(map(math.isfinite, ends)):
        context.store.ledger.made.add(path.name)
        context.store.write(path, sealed_text(path.name, record.model_dump_json()))


def place(check: Check, context: Context) -> Path | None:
    """The file of a measurement; None where nothing is kept, or a check has no file of its own."""
    store, subject = context.store, context.subject
    source = source_of(type(check))
    if store.folder is None or source is None:
        return None
    # A check may rest on how another is asked: those that are asked otherwise than by the profile.
    usual = {k: type(c)(**c.profiles.get(context.profile, {})) for k, c in context.checks.items()}
    asked = {k: c.model_dump(mode="json") for k, c in context.checks.items() if c != usual[k]}
    parts = [
        store.base,
        subject.training_digest(),
        json.dumps(asked, sort_keys=True),
        subject.name,
        "" if subject.n == 0 else subject.samples.name,
        check.id,
        source,
        check.model_dump_json(),
        json.dumps(sorted(check.model_fields_set)),  # what nobody has given gates nothing
        context.profile,
        str(context.most),
        str(context.examples),
    ]
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
    return store.folder / MEASURED / f"{key}{PRIVATE if context.examples else PUBLIC}"


@functools.cache
def source_of(check: type[Check]) -> str | None:
    """A digest of the source that measures: of this package, and of those of the check's classes."""
    files: set[Path] = set()
    for cls in check.__mro__:
        if not issubclass(cls, Check):
            continue
        outer = cls.__module__.split(".")
        modules = [sys.modules.get(name) for name in (outer[0], ".".join(outer[:2]))]
        found = {path for module in modules if module for path in files_of(module)}
        if not found:
            return None  # typed into a notebook: nobody knows when it is another
        files |= found
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(f"{path.name}\n{source_digest(path)}\n".encode())
    return digest.hexdigest()


@functools.cache
def source_digest(path: Path) -> str:
    """sha256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@functools.cache
def files_of(module: ModuleType) -> frozenset[Path]:
    """All source files of a package; of a module that stands alone, its own."""
    if hasattr(module, "__path__"):
        return frozenset(path for place in module.__path__ for path in Path(place).rglob("*.py"))
    file = getattr(module, "__file__", None)
    return frozenset([Path(file)] if file else [])

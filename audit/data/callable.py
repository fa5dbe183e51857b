"""`pkg.mod:callable`: the user's own code, returning a mapping of arrays."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

from audit.data import Dataset, from_mapping
from audit.errors import AuditError
from audit.foreign import foreign
from audit.meta import SubjectMeta

MAIN_GUARD = 'put what the module does when it is run under `if __name__ == "__main__":`'


def import_user_object(reference: str, flag: str) -> Any:
    """What `pkg.mod:name` names, the working directory being on the path, last.

    Raises:
        AuditError: the module or the name is missing, or importing it raised.
    """
    module_name, _, name = reference.partition(":")
    if not module_name or not name:
        raise AuditError(f"{flag} {reference}: write it as package.module:name.")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    with foreign(f"{flag} {reference}: importing {module_name}", exit_advice=MAIN_GUARD):
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            raise AuditError(
                f"{flag} {reference}: there is no module {error.name!r} in the working directory "
                "or among the installed packages."
            ) from None
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            raise AuditError(f"{flag} {reference}: the module {module_name} has no {name!r}.")
        found = getattr(found, part)
    return found


def read_callable(
    reference: str, meta: SubjectMeta, *, training: bool = False, takes: Container[str] = ()
) -> Dataset:
    """Call it and read the mapping it returns, as from an `.npz`.

    Raises:
        AuditError: it is missing, it raised, or it returned something else.
    """
    function = import_user_object(reference, "--data")
    with foreign(f"--data {reference}"):
        mapping = function()
    if not isinstance(mapping, Mapping):
        raise AuditError(
            f"--data {reference} returned {type(mapping).__name__}; a mapping with `x` and `y` is due."
        )
    return from_mapping(mapping, reference, meta, training=training, takes=takes)

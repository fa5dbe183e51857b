"""The errors a user can cause. Each message is one sentence: what was wrong, where, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MOST_NAMED = 40


class AuditError(Exception):
    """A mistake in usage, configuration, model or data: exit code 2, shown without a traceback.

    Example:
        >>> import audit
        >>> audit.check("robustness.pdg")
        Traceback (most recent call last):
        audit.errors.AuditError: There is no check 'robustness.pdg'; did you mean robustness.pgd?
    """


class NotThere(AuditError, KeyError):
    """What was asked for by name is not there; the message names what is, and the nearest spelling."""

    def __str__(self) -> str:
        return str(self.args[0])  # a KeyError would put it in quotes

    @classmethod
    def among(cls, what: str, name: str, there: Iterable[str], where: str = "") -> NotThere:
        """The error about a name that is none of those that are there.

        Args:
            what: is named so, in the singular: 'metric'.
            where: it was looked for, as ' in robustness.pgd'.
        """
        names = list(dict.fromkeys(there))
        near = difflib.get_close_matches(name, names, 1)
        hint = f"did you mean {near[0]!r}? There are " if near else "there are "
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        told = f"{hint}{', '.join(names[:MOST_NAMED])}{more}." if names else "there is none."
        return cls(f"There is no {what} {name!r}{where}; {told}")


class NotApplicable(Exception):
    """Raised by a check that has no meaning for a subject; the message is the reason shown.

    Example:
        >>> import audit, torch
        >>> subject = audit.Subject(torch.nn.Linear(1, 2), torch.rand(20, 1), torch.arange(20) % 2)
        >>> audit.check("fairness.groups").measure(subject)
        Traceback (most recent call last):
        audit.errors.NotApplicable: no sensitive attribute is given ([subject] sensitive)
    """


class OtherTask(NotApplicable):
    """It asks about answers of another kind, and would of any data."""

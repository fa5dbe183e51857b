"""The errors a user can cause. Each message is one sentence: what was wrong, where, what to do."""


class AuditError(Exception):
    """A mistake in usage, configuration, model or data: exit code 2, shown without a traceback."""


class NotApplicable(Exception):
    """Raised by a check that has no meaning for a subject; the message is the reason shown."""


class OtherTask(NotApplicable):
    """It asks about answers of another kind, and would of any data."""

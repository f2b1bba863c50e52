"""Errors that the user can fix. Any other exception is a bug."""


class UserError(Exception):
    """Wrong input: a parameter, a file, a store, or a source that cannot be reached.

    The message is complete: scripts print it without a traceback.
    """


class FailedJobError(UserError):
    """A job failed because of its own inputs, so resuming it would fail again."""

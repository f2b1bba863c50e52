"""The errors that are a person's to mend. Every other exception is a fault of ours."""


class UserError(Exception):
    """Something that was given to us is wrong: parameters, a file, a source that cannot be reached.

    The message is complete in itself. Scripts print it without a traceback.
    """


class FailedWorkError(UserError):
    """Work that came to a bad end of its own accord: to continue it would end the same."""

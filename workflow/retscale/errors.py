"""The one exception a user is meant to read."""


class UserError(Exception):
    """What is wrong, where, and what to do about it, in one message; shown without a traceback."""

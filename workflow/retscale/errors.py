"""The one exception a user is meant to read."""

from retscale.common.terminal import visible


class UserError(Exception):
    """What is wrong, where, and what to do about it, in one message; shown without a traceback.

    Each argument is one line, whatever a stranger's name, id or message in it holds.
    """

    def __str__(self) -> str:
        return "\n".join(visible(str(line)) for line in self.args)

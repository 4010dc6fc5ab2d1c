"""The one exception a user is meant to read."""

from retscale.common.terminal import visible

LONGEST = 10_000  # characters of a line; one that quotes a stranger's value could have millions


class UserError(Exception):
    """What is wrong, where, and what to do about it, in one message; shown without a traceback.

    Each argument is one line, whatever a stranger's name, id or message in it holds.
    """

    def __str__(self) -> str:
        lines = (visible(str(line)) for line in self.args)
        return "\n".join(line if len(line) <= LONGEST else f"{line[:LONGEST]}..." for line in lines)

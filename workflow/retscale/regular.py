"""What may be opened where a file is expected."""

from pathlib import Path

from retscale.errors import UserError


def require_regular(path: Path) -> None:
    """UserError if `path` is a FIFO, a socket or a device, which may keep its reader waiting, or reading, for ever.

    A folder or nothing at all passes: opening that fails at once, and the caller knows what to say.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise UserError(f"{path} is not a regular file; save what it gives to a file, and name that")

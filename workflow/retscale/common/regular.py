"""What may be opened where a file is expected."""

from pathlib import Path

from retscale.errors import UserError

KERNEL = ("/proc", "/sys")  # whose files call themselves regular


def require_regular(path: Path) -> None:
    """UserError if `path` is a FIFO, a socket, a device or a window on the kernel, which may keep its reader waiting,
    or reading, for ever.

    A folder or nothing at all passes: opening that fails at once, and the caller knows what to say.
    """
    try:
        if not path.exists():
            return
        kernel = any(path.resolve().is_relative_to(folder) for folder in KERNEL)
    except OSError as error:  # such as a name that is too long
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    if kernel or not (path.is_file() or path.is_dir()):
        raise UserError(f"{path} is not a regular file; save its contents to a file, and name that")

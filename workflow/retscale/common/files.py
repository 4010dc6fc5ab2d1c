"""Files that are read whole and written whole."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from retscale.common.regular import require_regular


def sha256(path: Path) -> str:
    """Of the bytes of a file, in hex. OSError if it cannot be read, UserError if it is not a regular file."""
    require_regular(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of(*parts: bytes) -> str:
    """Of the bytes one after another, in hex."""
    return hashlib.sha256(b"".join(parts)).hexdigest()


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, which becomes `path` once it is whole and on the disk; nothing is left if the block raises."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:8]}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def link(source: Path, target: Path) -> None:
    """The file `source` at `target` as well, by another name where the file system has links, else as a copy."""
    try:
        os.link(source, target)
    except OSError:  # some cluster file systems have no links from folder to folder
        shutil.copy2(source, target)

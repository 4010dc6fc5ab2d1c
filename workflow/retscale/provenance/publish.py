"""Outputs appear whole or not at all, whatever kills the job."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from retscale.common.terminal import say
from retscale.errors import UserError
from retscale.provenance import lock


@contextlib.contextmanager
def workspace(folder: Path, label: str) -> Iterator[Path]:
    """An empty temporary folder inside `folder`, held by one process at a time and removed at the end.

    It is beside its outputs so that publishing is a rename. What a killed owner left in it is deleted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    work = work_path(folder, label)
    with lock.held(_refuse_symlink(lock_path(folder, label)), work):
        _refuse_symlink(work).mkdir(exist_ok=True)
        try:
            for leftover in work.iterdir():
                shutil.rmtree(leftover) if leftover.is_dir() and not leftover.is_symlink() else leftover.unlink()
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)


def state(folder: Path, label: str, identity: str) -> Path:
    """The folder for the state of the job `label`, kept from run to run of the same job; only its owner may call this.

    State of another spec, code or input (`identity`) is deleted.
    """
    path = _refuse_symlink(state_path(folder, label))
    identity_file = path / "identity"
    if path.exists() and not (identity_file.is_file() and identity_file.read_text() == identity):
        say(f"{path}: its spec, code or inputs have changed; starting over")
        shutil.rmtree(path)
    if not path.exists():
        path.mkdir()
        identity_file.write_text(identity)
    return path


def work_path(folder: Path, label: str) -> Path:
    return folder / f".{label}.tmp"


def lock_path(folder: Path, label: str) -> Path:
    """The file that is locked while a process is at work on `label`; there is none otherwise, unless it was killed."""
    return folder / f".{label}.lock"


def state_path(folder: Path, label: str) -> Path:
    return folder / f".{label}.state"


def _refuse_symlink(path: Path) -> Path:
    """UserError if `path` is a symbolic link: no job makes it, and what it leads to would be overwritten or deleted."""
    if path.is_symlink():
        raise UserError(f"{path} is a symbolic link, which no job makes there; delete it and run again")
    return path


def publish(work: Path, folder: Path, names: list[str]) -> None:
    """Move the files `names` (relative) from `work` to `folder`, in that order, each flushed to disk first."""
    for name in names:
        with (work / name).open("rb+") as file:
            os.fsync(file.fileno())
        for part in list(Path(name).parents)[:-1]:
            _refuse_symlink(folder / part)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(work / name, folder / name)
        (work / name).unlink(missing_ok=True)  # a rename leaves it where both are names of one file
    descriptor = os.open(folder, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)

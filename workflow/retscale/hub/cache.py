"""The hub's cache on disk: free space, leftovers of killed jobs, and the verification of files."""

import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from huggingface_hub.utils import WeakFileLock

from retscale.errors import UserError
from retscale.hub.listing import BLOB
from retscale.provenance import lock

BLOCK = 2**20
ABANDONED_S = 7 * 24 * 3600


def check_room(needed: int, folder: Path, label: str) -> None:
    """Raises UserError unless the disk that `folder` is or will be on has `needed` bytes free."""
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise UserError(
            f"{label} needs {needed / 1e9:,.1f} GB more, but the disk of {folder} has {free / 1e9:,.1f} GB free; make "
            "room there, or set HF_HOME to a folder on a larger disk"
        )


def unfinished(blob: Path) -> Path:
    """Where a file lies while it comes; the hub's tools know the ending."""
    return blob.with_name(f"{blob.name}.incomplete")


def lock_file(blob: Path) -> Path:
    cache, repository = blob.parents[2], blob.parents[1].name
    return cache / ".locks" / repository / f"{blob.name}.lock"


@contextmanager
def locked(blob: Path, timeout: float | None = None) -> Iterator[None]:
    """The lock under which one job at a time, and the hub's own client too, makes `blob`; OSError after `timeout` s."""
    path = lock_file(blob)
    path.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            stack.enter_context(WeakFileLock(path, timeout=timeout))
        except OSError as error:
            if error.errno not in lock.NO_LOCKS:
                raise
            stack.enter_context(lock.marked(path, blob, wait=timeout is None))
        yield


def sweep(blobs: Path) -> None:
    """Delete partial downloads of killed jobs that nobody has resumed within a week of their last byte."""
    for partial in blobs.glob("*.incomplete"):
        with (
            suppress(OSError),
            locked(blobs / partial.name.split(".")[0], timeout=0.1),
        ):  # or a job is fetching it, or it is not ours
            if time.time() - partial.stat().st_mtime > ABANDONED_S:
                partial.unlink()


def plain(path: Path, home: Path) -> Path:
    """A path in a repository's folder `home` of the cache; UserError if a symbolic link on its way leads elsewhere.

    A cache may be shared, and a link planted there would make this job write to, read or delete files of its user.
    """
    for part in (path, *path.parents):
        if part == home:
            return path
        if part.is_symlink():
            raise UserError(
                f"{part} is a symbolic link, which the hub's clients do not make there; delete it and run again"
            )
    raise ValueError(f"{path} is not in {home}")


def blob_of(path: Path, home: Path) -> Path | None:
    """The blob that the link `path` in a snapshot of the cache stands for; None unless that file is there.

    Only the link itself is read: what it leads to may be a link again, into the hub's store of what repositories share.
    """
    plain(path.parent, home)
    if not path.is_file():
        return None
    blobs = plain(home / "blobs", home)
    blob = Path(os.path.normpath(path.parent / path.readlink())) if path.is_symlink() else path
    if blob.parent != blobs or not BLOB.fullmatch(blob.name):
        raise UserError(
            f"{path} does not show its hash: the hub's cache keeps files under their hash in {blobs} and links to "
            "them, so it needs a file system with symbolic links, and HF_HUB_DISABLE_SYMLINKS must not be set"
        )
    return blob


def link(path: Path, blob: Path, home: Path) -> None:
    """Put the link `path` to a blob into a snapshot, where at any moment another job may read it."""
    plain(path.parent, home).mkdir(parents=True, exist_ok=True)
    target = os.path.relpath(blob, path.parent)
    if path.is_symlink() and os.readlink(path) == target:
        return
    new = path.with_name(f"{path.name}.{uuid.uuid4().hex}.incomplete")
    new.symlink_to(target)
    new.replace(path)


def digest(file: BinaryIO, stated: str) -> tuple[str, bool]:
    """The sha256 of an open file, and whether its bytes have the hash that is `stated`: a sha256 or a git id."""
    sha256 = hashlib.sha256()
    git = hashlib.sha1(f"blob {os.fstat(file.fileno()).st_size}\0".encode(), usedforsecurity=False)
    hashes = (sha256, git) if len(stated) == len(git.hexdigest()) else (sha256,)
    while block := file.read(BLOCK):
        for algorithm in hashes:
            algorithm.update(block)
    return sha256.hexdigest(), hashes[-1].hexdigest() == stated


def verified(path: Path, home: Path, label: str) -> str:
    """The sha256 of a cached file; UserError, and no such file any more, unless its bytes are those the hub states."""
    blob = blob_of(path, home)
    try:
        if blob is None:
            raise FileNotFoundError
        with blob.open("rb") as file:
            opened = os.fstat(file.fileno())
            sha256, intact = digest(file, blob.name)
            if not intact:
                raise _discard(path, blob, opened, label)
    except FileNotFoundError:
        raise UserError(
            f"{path.name} of {label} was damaged and another job removed it from the cache; run this job again"
        ) from None
    return sha256


def _discard(path: Path, blob: Path, damaged: os.stat_result, label: str) -> UserError:
    """Remove a damaged file, unless another job has put a new one in its place; returns what to say."""
    problem = f"{path.name} of {label} is damaged: its bytes do not have the hash that the hub states, {blob.name}"
    try:
        with suppress(FileNotFoundError), locked(blob):
            if os.path.samestat(damaged, blob.stat()):
                path.unlink(missing_ok=True)
                blob.unlink(missing_ok=True)
    except OSError as error:
        return UserError(f"{problem}; remove {blob} from the cache, which this job may not do ({error.strerror})")
    return UserError(
        f"{problem}; it was removed from the cache, so run this job again; if it is damaged again, suspect the disk "
        "or a proxy"
    )

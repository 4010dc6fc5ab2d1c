"""A lock that one process of a cluster holds at a time, and that its death frees."""

import contextlib
import errno
import fcntl
import glob
import os
import random
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from retscale.common.terminal import say

# What flock answers on a file system without locks, such as Lustre mounted without them, or NFS without its daemon.
NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS}
# Between two looks at the marks of others, at random between these, so that two that met do not meet again.
LOOK_EVERY_S = (1.0, 3.0)


@contextlib.contextmanager
def held(path: Path, guarded: Path) -> Iterator[None]:
    """Hold the lock of `guarded`, the file `path`, which is there meanwhile; waits for its owner, and says so.

    The lock is a file, because NFS keeps that of a folder from other nodes. Where the file system has no locks, see
    `marked`.
    """
    descriptor = _flock(path, guarded)
    if descriptor is None:
        with marked(path, guarded):
            yield
        return
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def is_held(path: Path) -> bool:
    """Whether a process holds the lock `path` by flock; False as well where the file system has no locks."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


def _flock(path: Path, guarded: Path) -> int | None:
    """The descriptor that holds the lock; None where the file system has none."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another process is working in {guarded}; waiting for it")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            if error.errno in NO_LOCKS:
                return None
            raise
        # The former owner removed the file when it ended: then this lock guards nothing, and we start over.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        os.close(descriptor)


@contextlib.contextmanager
def marked(path: Path, guarded: Path, wait: bool = True) -> Iterator[None]:
    """A lock without locks: a file beside `path` whose name says who is there.

    Each who comes leaves its mark, then looks for those of others, and takes its own away if one of them may be alive;
    so of two at most one stays. TimeoutError if it must wait and may not.
    """
    own = path.with_name(f"{path.name}~{Owner.this()}")
    said = False
    while True:
        own.touch()
        others = [mark for mark in path.parent.glob(f"{glob.escape(path.name)}~*") if mark != own]
        alive = [mark for mark in others if not Owner.of(mark).is_dead()]
        if not alive:
            break
        own.unlink()
        if not wait:
            raise TimeoutError(f"{guarded} is locked by {alive[0]}")
        if not said:
            owner = Owner.of(alive[0]).describe()
            say(
                f"another process is working in {guarded}: {owner}; waiting for it. If it is not running any more, "
                f"delete {alive[0]}"
            )
            said = True
        time.sleep(random.uniform(*LOOK_EVERY_S))
    try:
        for mark in others:
            mark.unlink(missing_ok=True)
        yield
    finally:
        own.unlink(missing_ok=True)


class Owner(NamedTuple):
    """A process: its number and start on its host, and its Slurm job, empty outside of one."""

    pid: int
    started: str
    job: str
    host: str

    @classmethod
    def this(cls) -> "Owner":
        return cls(os.getpid(), _started(os.getpid()), os.environ.get("SLURM_JOB_ID", ""), socket.gethostname())

    @classmethod
    def of(cls, mark: Path) -> "Owner":
        pid, started, job, host = mark.name.split("~")[-4:]
        return cls(int(pid), started, job, host)

    def __str__(self) -> str:
        return "~".join(map(str, self))

    def describe(self) -> str:
        return f"process {self.pid} on {self.host}" + (f", Slurm job {self.job}" if self.job else "")

    def is_dead(self) -> bool:
        """Whether it is known to have ended; of a process on another host outside of Slurm nothing is known."""
        this = Owner.this()
        if self.host == this.host:
            return _started(self.pid) != self.started
        if self.job and self.job == this.job:
            return True  # Slurm has started this job again on another node
        return bool(self.job) and _has_ended(self.job)


def _started(pid: int) -> str:
    """When a process of this host started, in ticks of its clock; empty if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def _has_ended(job: str) -> bool:
    """Whether Slurm says that a job is over, or waits to be started again."""
    command = ["squeue", "--noheader", "--format=%T", f"--jobs={job}"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    if answer.returncode:
        return "Invalid job id" in answer.stderr
    return answer.stdout.strip() in ("", "PENDING")

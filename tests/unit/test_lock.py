"""One process at a time, on file systems with locks and without."""

import errno
import fcntl
import multiprocessing
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from retscale.provenance import lock, publish
from retscale.provenance.lock import Owner


@pytest.fixture(
    params=[None, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS], ids=["locks", "ENOLCK", "EOPNOTSUPP", "ENOSYS"]
)
def file_system(request, monkeypatch):
    """One with locks, or one whose flock fails."""

    def refuse(*_):
        raise OSError(request.param, os.strerror(request.param))

    if request.param:
        monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(lock, "LOOK_EVERY_S", (0.0, 0.02))


def _append(folder: Path, i: int) -> None:
    with publish.workspace(folder, "x") as work:
        (work / "x").write_text(str(i))
        time.sleep(0.02)
        assert (work / "x").read_text() == str(i)
        publish.publish(work, folder, ["x"])


def test_one_owner_at_a_time(tmp_path, file_system):
    jobs = [multiprocessing.Process(target=_append, args=(tmp_path, i)) for i in range(6)]
    [job.start() for job in jobs]
    [job.join() for job in jobs]
    assert [job.exitcode for job in jobs] == [0] * 6
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def _hold(folder: Path, started) -> None:
    with publish.workspace(folder, "card.json") as work:
        (work / "card.json").write_text("half")
        started.set()
        time.sleep(600)


def test_what_a_killed_job_left_is_thrown_away(tmp_path, file_system):
    started = multiprocessing.Event()
    job = multiprocessing.Process(target=_hold, args=(tmp_path, started))
    job.start()
    assert started.wait(120)
    os.kill(job.pid, signal.SIGKILL)
    job.join()
    assert (tmp_path / ".card.json.tmp" / "card.json").exists()
    with publish.workspace(tmp_path, "card.json") as work:
        assert list(work.iterdir()) == []
    assert list(tmp_path.iterdir()) == []


def marked_by(folder: Path, **owner) -> Path:
    this = Owner(4711, "1", "", "another-host")._replace(**owner)
    mark = folder / f".x.lock~{this}"
    mark.touch()
    return mark


def squeue(folder: Path, monkeypatch, script: str) -> None:
    (folder / "bin").mkdir()
    (folder / "bin" / "squeue").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "bin" / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}/bin:{os.environ['PATH']}")


@pytest.mark.parametrize(
    ("owner", "job", "answer"),
    [
        ({"host": socket.gethostname()}, "", "exit 1"),  # no process of this host
        ({"host": socket.gethostname(), "pid": os.getpid()}, "", "exit 1"),  # another process had the number
        ({"job": "7"}, "7", "exit 1"),  # this job, before it was started again
        ({"job": "7"}, "", "exit 0"),
        ({"job": "7"}, "", "echo PENDING"),
        ({"job": "7"}, "", "echo slurm_load_jobs error: Invalid job id specified >&2; exit 1"),
    ],
)
def test_a_dead_owner_is_passed_over(tmp_path, monkeypatch, owner, job, answer):
    squeue(tmp_path, monkeypatch, answer)
    monkeypatch.setenv("SLURM_JOB_ID", job)
    mark = marked_by(tmp_path, **owner)
    with lock.marked(tmp_path / ".x.lock", tmp_path, wait=False):
        assert not mark.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["bin"]


@pytest.mark.parametrize(
    ("owner", "answer"),
    [
        ({}, "exit 0"),  # in no job
        ({"job": "7"}, "echo RUNNING"),
        ({"job": "7"}, "echo Unable to contact slurm controller >&2; exit 1"),
    ],
)
def test_an_owner_of_whom_nothing_is_known_is_waited_for(tmp_path, monkeypatch, capfd, owner, answer):
    squeue(tmp_path, monkeypatch, answer)
    mark = marked_by(tmp_path, **owner)
    with pytest.raises(TimeoutError), lock.marked(tmp_path / ".x.lock", tmp_path, wait=False):
        pass
    monkeypatch.setattr(time, "sleep", lambda _: mark.unlink(missing_ok=True))  # the user has deleted it
    with lock.marked(tmp_path / ".x.lock", tmp_path / ".x.tmp"):
        pass
    job = ", Slurm job 7" if owner else ""
    assert capfd.readouterr().err == (
        f"another process is working in {tmp_path}/.x.tmp: process 4711 on another-host{job}; waiting for it. "
        f"If it is not running any more, delete {mark}\n"
    )


def test_a_lock_that_goes_between_two_looks_is_made_anew(tmp_path, monkeypatch):
    """Its owner ends while we wait; the next one makes it again, and ends as we look whether it is still the same."""
    path, flock, stat = tmp_path / ".x.lock", fcntl.flock, Path.stat

    def others_end(*arguments):
        monkeypatch.setattr(fcntl, "flock", flock)
        monkeypatch.setattr(Path, "stat", seen_and_gone)
        path.unlink()
        path.touch()
        return flock(*arguments)

    def seen_and_gone(seen, **options):
        monkeypatch.setattr(Path, "stat", stat)
        result = stat(seen, **options)
        seen.unlink()
        return result

    monkeypatch.setattr(fcntl, "flock", others_end)
    with publish.workspace(tmp_path, "x") as work:
        assert list(work.iterdir()) == [] and path.exists()
    assert list(tmp_path.iterdir()) == []


def test_a_download_is_locked_without_locks_too(tmp_path, monkeypatch):
    from retscale.hub import cache

    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    blob = tmp_path / "models--a--b" / "blobs" / "0"
    with cache.locked(blob, timeout=1):
        assert [path.name.split("~")[0] for path in (tmp_path / ".locks/models--a--b").glob("*~*")] == ["0.lock"]
    assert not list((tmp_path / ".locks/models--a--b").glob("*~*"))

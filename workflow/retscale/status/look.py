"""One look at all jobs of a study."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from retscale.cluster.slurm import Row
from retscale.plan.jobs import Job
from retscale.provenance import lock, publish, record
from retscale.stages import STAGES
from retscale.status import log
from retscale.status.log import Log
from retscale.status.queue import PENDING, RUNNING, Queue

# A job holds its folder only once Python has started; from then on it writes to its log every 15 s at least.
SIGN_OF_LIFE_S = 60

Names = Callable[[str], frozenset[str]]


@dataclass(frozen=True)
class Seen:
    """A job and its state. `outputs`: how many of its declared outputs are there. `row`: its own or its group's in Slurm."""

    job: Job
    state: str
    outputs: int
    row: Row | None = None
    log: Log | None = None


def look(jobs: list[Job], results: Path, logs: Path, queue: Queue) -> list[Seen]:
    """The state of every job, by the files below `results` and `logs` of its study, and by its jobs in Slurm."""
    names = cache(_names)  # each folder is listed once: 10,000 jobs have some 60,000 outputs
    return [_seen(job, results, logs, queue, names) for job in jobs]


def _seen(job: Job, results: Path, logs: Path, queue: Queue, names: Names) -> Seen:
    outputs = [os.path.split(results / output) for output in job.makes]
    there = sum({name, record.path_of(Path(name)).name} <= names(folder) for folder, name in outputs)
    complete, path = there == len(outputs), logs / f"{job.label}.log"
    unfinished = f"{path.name}~" in names(str(path.parent))  # an attempt that ends well removes it
    row, group = queue.row(job), queue.group(job)
    if row and row.state in RUNNING or _held(*outputs[0], names):
        return Seen(job, "running", there, row or group, log.read(path))
    if row and row.state in PENDING:
        return Seen(job, "pending", there, row)
    if complete and not (unfinished and STAGES[job.stage].batch):  # a batch that is made again keeps its outputs
        return Seen(job, "done", there)
    if group and group.state in PENDING:
        return Seen(job, "pending", there, group)
    if not unfinished:
        return Seen(job, "waiting", there)
    said = log.read(path)
    return Seen(job, _ended(said), there, row, said)


def _ended(said: Log | None) -> str:
    """The state of a job with an unfinished attempt that nobody is seen to work on."""
    if said and said.error:
        return "failed"
    return "running" if said and time.time() - said.changed < SIGN_OF_LIFE_S else "stopped"


def _held(folder: str, name: str, names: Names) -> bool:
    path = publish.lock_path(Path(folder), name)
    return path.name in names(folder) and lock.is_held(path)


def _names(folder: str) -> frozenset[str]:
    try:
        return frozenset(os.listdir(folder))
    except OSError:
        return frozenset()

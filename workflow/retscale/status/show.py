"""`retscale status STUDY`: what are its jobs doing?"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from retscale import paths
from retscale.cluster import names, slurm
from retscale.common.terminal import answer
from retscale.plan.jobs import jobs
from retscale.status import rows, table
from retscale.status.look import Seen, look
from retscale.status.queue import Queue
from retscale.study import load
from retscale.study.study import Study

SLURM_TIMEOUT_S = 10
EVERY_S = 5
# Between two jobs nothing runs for a moment.
IDLE_LOOKS = 3
CLEAR = "\x1b[H\x1b[2J\x1b[3J"


def main(arguments: argparse.Namespace) -> int:
    """Print the state of a study's jobs, once or until none runs; UserError that says what is wrong with the study."""
    study = load.study(arguments.study)
    if arguments.watch:
        watch(lambda: show(study), sys.stdout.isatty())
    else:
        show(study)
    return 0


def watch(show: Callable[[], bool], terminal: bool, sleep: Callable[[float], None] = time.sleep) -> None:
    """Show again and again, each time on a cleared terminal, until `show` has said IDLE_LOOKS times that nothing runs."""
    idle = 0
    while True:
        if terminal:
            print(CLEAR, end="")
        idle = 0 if show() else idle + 1
        sys.stdout.flush()
        if idle == IDLE_LOOKS:
            return
        sleep(EVERY_S)


def show(study: Study) -> bool:
    """Print the state of the jobs as it is now; returns whether one runs or waits in Slurm."""
    queued, problem = slurm_jobs()
    queue = Queue.of(queued, study.name, names.place(Path.cwd()))
    seen = look(jobs(study), paths.folder(study.name), paths.logs(study.name), queue)
    for line in lines(study, seen, problem):
        answer(line)
    return any(one.state in ("running", "pending") for one in seen)


def slurm_jobs() -> tuple[list[slurm.Row], str]:
    """The user's jobs, and why they are not known; a machine without Slurm has none."""
    try:
        return slurm.jobs(SLURM_TIMEOUT_S), ""
    except slurm.Missing:
        return [], ""
    except (slurm.Unanswered, slurm.Refused) as error:
        return [], f"Slurm does not answer ({error}): what follows is from files alone"


def lines(study: Study, seen: list[Seen], problem: str = "") -> Iterator[str]:
    yield table.headline(study, seen)
    if problem:
        yield problem
    yield ""
    yield from table.stages(seen)
    yield ""
    yield from table.checkpoints(study, seen)
    yield from rows.rows(seen, paths.logs(study.name))

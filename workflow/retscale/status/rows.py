"""The jobs that run, wait in Slurm or have failed, one by one."""

from collections.abc import Iterator
from pathlib import Path

from retscale.status.look import Seen

LISTED = ("running", "pending", "failed", "stopped")
# Of each state; the counts above them are complete.
MOST_JOBS = 20


def rows(jobs: list[Seen], logs: Path) -> Iterator[str]:
    """A paragraph for each of these states that has jobs; `logs`: the folder of the study's logs."""
    for state in LISTED:
        chosen = [seen for seen in jobs if seen.state == state]
        if chosen:
            yield from ("", state)
        for seen in chosen[:MOST_JOBS]:
            yield "  " + "; ".join([seen.job.label, *_details(seen)])
            if said := seen.log and (seen.log.error or seen.log.last):
                yield f"      {said}"
            if state in ("failed", "stopped"):
                yield f"      {logs / seen.job.label}.log"
        if len(chosen) > MOST_JOBS:
            yield f"  and {len(chosen) - MOST_JOBS:,} more"


def _details(seen: Seen) -> Iterator[str]:
    """Where it is in Slurm, and how many of its outputs are there."""
    if row := seen.row:
        states = {"running": f"on {row.node} for {row.elapsed}", "pending": f"waits for {row.reason}"}
        yield f"job {row.id} {states.get(seen.state, row.state)}"
    if seen.outputs:
        yield f"{seen.outputs} of {len(seen.job.makes)} outputs"

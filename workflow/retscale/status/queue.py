"""A study's jobs in Slurm."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from retscale.cluster.slurm import INTERRUPTED, QUEUED, Row
from retscale.plan.jobs import Job

# Slurm starts again what it has interrupted.
PENDING = {"PENDING", *INTERRUPTED}
RUNNING = QUEUED - PENDING - {"COMPLETING"}


@dataclass(frozen=True)
class Queue:
    """The job of each label, as the executor names it: one that runs before one that waits, and this before one that ended."""

    rows: dict[str, Row]

    @classmethod
    def of(cls, rows: Iterable[Row], study: str, place: str) -> "Queue":
        """Of a study in a clone, whose comments begin with `place`."""
        own = [row for row in rows if row.comment.startswith(place) and row.name.startswith(f"{study}/")]
        own.sort(key=lambda row: (row.state in RUNNING, row.state in PENDING))
        return cls({row.name.removeprefix(f"{study}/"): row for row in own})

    def row(self, job: Job) -> Row | None:
        """The job's own."""
        return self.rows.get(job.label)

    def group(self, job: Job) -> Row | None:
        """That of a group with jobs of its stage; which of them are in the group, its name does not say."""
        return self._groups.get(job.stage)

    @cached_property
    def _groups(self) -> dict[str, Row]:
        return {stage: row for label, row in self.rows.items() if "/" not in label for stage in label.split("+")}

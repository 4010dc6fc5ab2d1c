"""How long each job of a study takes on one device, as estimated and as those before it have shown."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from retscale.plan.costs import Costs
from retscale.plan.estimate import Sum
from retscale.plan.jobs import Job
from retscale.plan.measured import device_seconds, factors
from retscale.plan.times import Device


@dataclass(frozen=True)
class Work:
    """`finished`: jobs whose times are believed, with the study's `logs` of them."""

    costs: Costs
    device: Device
    finished: list[Job]
    logs: Path

    def hours(self, job: Job) -> Sum:
        """Of one device; several share the job."""
        seconds = self.estimated(job)
        return Sum(self.factors.get(self.key(job), 1.0) * seconds.known / 3600, seconds.unknown)

    def estimated(self, job: Job) -> Sum:
        return self.device.seconds(job.stage, self.costs.of(job), self.costs.multiplied(job))

    def key(self, job: Job) -> tuple[str, str]:
        """Its stage, and the size of its checkpoint if it is about one."""
        checkpoint = self.costs.study.checkpoints.get(job.name[0]) if job.name else None
        return job.stage, f"{checkpoint.family} {checkpoint.size}" if checkpoint else ""

    @cached_property
    def factors(self) -> dict[tuple[str, str], float]:
        taken = []
        for job in self.finished:
            seconds = device_seconds(job, self.costs.results, self.logs, self.device.is_cpu)
            estimated = self.estimated(job)
            if seconds is not None and not estimated.unknown:
                taken.append((self.key(job), seconds, estimated.known))
        return factors(taken)

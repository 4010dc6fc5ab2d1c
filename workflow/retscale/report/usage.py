"""What the study has taken, stage by stage, as the records of its results say."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from retscale.provenance.behind import records
from retscale.provenance.usage import Usage
from retscale.stages import STAGES

J_PER_KWH = 3.6e6


@dataclass
class Taken:
    """The sums of one stage, in hours and kWh; `kwh` is None unless each of its GPUs has been measured."""

    stage: str
    results: int = 0
    hours: float = 0.0
    cpu_hours: float = 0.0
    gpu_hours: float = 0.0
    kwh: float | None = 0.0

    def add(self, usage: Usage) -> None:
        hours = usage["seconds"] / 3600
        self.results += 1
        self.hours += hours
        self.cpu_hours += usage["cpu_seconds"] / 3600
        self.gpu_hours += usage["gpus"] * hours
        if usage["gpus"]:
            known = self.kwh is not None and usage["joules"] is not None
            self.kwh = self.kwh + usage["joules"] / J_PER_KWH if known else None


@dataclass
class Total:
    """One row per stage, in the order of the work, and their sum; `unknown`: results whose records are missing or older."""

    rows: list[Taken] = field(default_factory=list)
    unknown: int = 0


def total(primaries: Iterable[Path]) -> Total:
    """Of everything that these results were made from, at any distance, and of themselves."""
    by_stage, every, unknown = {stage: Taken(stage) for stage in STAGES}, Taken("total"), 0
    for saved in records(primaries):
        if not saved or "usage" not in saved or saved["stage"] not in by_stage:
            unknown += 1
        elif saved["usage"]:
            by_stage[saved["stage"]].add(saved["usage"])
            every.add(saved["usage"])
    return Total([taken for taken in (*by_stage.values(), every) if taken.results], unknown)

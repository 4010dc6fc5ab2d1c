"""What finished jobs of a study took, which corrects the estimates of those like them."""

import csv
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from statistics import median

from retscale.errors import UserError
from retscale.plan.jobs import Job
from retscale.provenance import record


def device_seconds(job: Job, results: Path, logs: Path, on_cpu: bool) -> float | None:
    """What a finished job took, times its GPUs: as Snakemake measured it. None if that is not known, or if it ran on the
    other kind of device."""
    try:
        usage = record.read(results / next(iter(job.makes))).get("usage")
        rows = list(csv.DictReader((logs / f"{job.label}.tsv").open(encoding="utf-8"), delimiter="\t"))
        seconds = float(rows[-1]["s"])
    except (OSError, UserError, IndexError, KeyError, ValueError):
        return None
    if not usage or (usage["gpus"] == 0) != on_cpu:
        return None
    return seconds * max(1, usage["gpus"])


def factors(taken: Iterable[tuple[tuple[str, str], float, float]]) -> dict[tuple[str, str], float]:
    """(stage, size) -> the median of what its jobs took / what was estimated, of (its key, taken, estimated)."""
    by_key = defaultdict(list)
    for key, seconds, estimated in taken:
        if estimated:
            by_key[key].append(seconds / estimated)
    return {key: median(ratios) for key, ratios in by_key.items()}

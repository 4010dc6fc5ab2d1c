"""`retscale plan STUDY`: what would it cost, and what does it still need?"""

import argparse
from collections import Counter
from pathlib import Path

from retscale import paths
from retscale.cluster import show
from retscale.cluster import site as sites
from retscale.common.phrase import hint
from retscale.common.terminal import answer
from retscale.errors import UserError
from retscale.plan import formatting
from retscale.plan.costs import Costs
from retscale.plan.estimate import FORMULA, STATE_BYTES, VECTOR_BYTES, added, disk, total
from retscale.plan.jobs import Job, done, jobs
from retscale.plan.needs import downloads, gated, missing
from retscale.plan.sizes import catalog_sizes
from retscale.plan.times import Device
from retscale.plan.work import Work
from retscale.study import load
from retscale.study.study import Study

GPU_STAGES = ("checkpoint", "finetune", "evaluate", "icl")  # stages that use a GPU, once or more for each checkpoint


def main(arguments: argparse.Namespace) -> int:
    """Print the plan of a study; raises UserError that says what is wrong with it."""
    device = find_device(arguments.gpu, arguments.utilisation)
    study = load.study(arguments.study)
    results = paths.folder(study.name)
    lines = [f"{arguments.study}: {study.file.title}", "", *plan(study, results, paths.logs(study.name), device)]
    if arguments.profile:
        lines += on_cluster(Costs(study, results), sites.of_profile(arguments.profile))
    for line in lines:
        answer(line)
    return 0


def on_cluster(costs: Costs, site_file: Path) -> list[str]:
    """What the jobs get there, and which are too large for it."""
    site = sites.read(site_file)
    parts = show.allotted(costs, site)
    head = ["", f"on the cluster of {site_file}: the most that a job gets in its first try, of each node"]
    trainings = show.trainings(parts)
    if trainings:
        trainings = ["", "trainings there: what each gets, the hours expected, and those asked for", *trainings]
    return [*head, *show.table(parts), *trainings, *(f"no way: {line}" for line in show.unfit(parts))]


def find_device(name: str, share: float | None) -> Device:
    known = catalog_sizes()["gpus"]
    if name not in known:
        raise UserError(f"--gpu: unknown {name!r}{hint(name, known)}")
    if share is not None and not 0 < share <= 1:
        raise UserError(f"--utilisation must be above 0 and at most 1, found {share:g}")
    return Device(name, known[name], share)


def plan(study: Study, results: Path, logs: Path, device: Device) -> list[str]:
    """The whole answer, line by line."""
    all_jobs, costs = jobs(study), Costs(study, results)
    done_numbers = done(all_jobs, results)
    finished = [job for number, job in enumerate(all_jobs) if number in done_numbers]
    remaining = [job for number, job in enumerate(all_jobs) if number not in done_numbers]
    work = Work(costs, device, finished, logs)
    hours = "core-minutes" if device.is_cpu else "GPU-hours"
    share = "" if device.share is None else f" at {device.share:.0%}"
    lines = [
        f"Tokens, FLOPs, {hours} and disk of the jobs still to do, on {device.name} ({device.peak:.4g} FLOP/s{share}).",
        "`7 ?`: seven parts are unknown and not in the sum; they are listed below.",
    ]
    lines += formatting.table(
        ["stage", "jobs", "done", "tokens", "FLOPs", hours, "disk"], stages(all_jobs, remaining, work)
    )
    lines += ["", f"{hours} of each checkpoint, done or not:"]
    lines += formatting.table(["size", "checkpoints", "parameters", *GPU_STAGES], ladder(all_jobs, work))
    if work.factors:
        lines += ["", "taken / estimated, of jobs that are done; what is left of their kind is scaled by it:"]
        lines += [f"  {' '.join(key).rstrip()} {factor:.2f}" for key, factor in work.factors.items()]
    for name, entries in {
        "downloads": downloads(study, remaining, costs),
        "disk while they run": running(remaining, costs),
        "gated": gated(study),
        "missing": missing(study),
        "unknown": unknown(costs),
        "how": FORMULA.format(**catalog_sizes()).splitlines(),
    }.items():
        lines += ["", name, *(f"  {entry}" for entry in entries or ["nothing"])]
    return lines


def stages(all_jobs: list[Job], remaining: list[Job], work: Work) -> list[list[str]]:
    """One row per stage, in the order of the work, and their sum."""
    count = Counter(job.stage for job in all_jobs)
    by_stage: dict[str, list[Job]] = {stage: [] for stage in count}
    for job in remaining:
        by_stage[job.stage].append(job)
    rows = [row(stage, count[stage], to_do, work) for stage, to_do in by_stage.items()]
    return [*rows, row("total", len(all_jobs), remaining, work)]


def row(name: str, count: int, to_do: list[Job], work: Work) -> list[str]:
    costs = [cost for job in to_do for cost in work.costs.of(job)]
    return [
        name,
        f"{count:,}",
        f"{count - len(to_do):,}",
        formatting.cell(total(cost.tokens for cost in costs), formatting.short),
        formatting.cell(total(cost.flops for cost in costs), "{:.2e}".format),
        time(work, to_do),
        formatting.cell(disk(costs), formatting.size),
    ]


def time(work: Work, to_do: list[Job]) -> str:
    """In GPU-hours; a core has such small studies that they are counted in minutes."""
    unit = 60 if work.device.is_cpu else 1
    return formatting.cell(added(map(work.hours, to_do)), lambda hours: formatting.hours(unit * hours))


def ladder(all_jobs: list[Job], work: Work) -> list[list[str]]:
    """One row for the checkpoints of a family and size that cost the same."""
    params = work.costs.params
    by_checkpoint: dict[str, dict[str, list[Job]]] = {}
    for job in all_jobs:
        if job.stage in GPU_STAGES and job.name[0] in params:
            by_checkpoint.setdefault(job.name[0], {stage: [] for stage in GPU_STAGES})[job.stage].append(job)
    rows = Counter()
    for id, by_stage in by_checkpoint.items():
        checkpoint = work.costs.study.checkpoints[id]
        cells = [time(work, group) for group in by_stage.values()]
        rows[f"{checkpoint.family} {checkpoint.size}", formatting.short(params[id].total), *cells] += 1
    return [[name, f"{count:,}", *rest] for (name, *rest), count in rows.items()]


def running(remaining: list[Job], costs: Costs) -> list[str]:
    """What the jobs still to do keep on disk until they end."""
    lines, study = [], costs.study
    # Adapters and biases are a small share of the weights.
    full = [job.name[0] for job in remaining if job.stage == "finetune" and study.recipes[job.name[1]].tuning == "full"]
    if largest := max((costs.params[id].total or 0 for id in full), default=0):
        size = formatting.size(STATE_BYTES * largest)
        lines.append(f"a full fine-tuning keeps its state: at most {size} (weights and two moments)")
    searched = {task for job in remaining if job.stage == "evaluate" for task in job.name[2:]}
    if largest := max((costs.tasks[task].passages.count or 0 for task in searched), default=0):
        narrow, wide = (
            formatting.size(VECTOR_BYTES[study.file.evaluate.storage] * largest * width) for width in (1024, 4096)
        )
        lines.append(
            f"an evaluation keeps the vectors of its corpus: at most {largest:,} documents, {narrow} at width 1,024 and "
            f"{wide} at 4,096"
        )
    return lines


def unknown(costs: Costs) -> list[str]:
    """What is not in the sums, by name."""
    lines = []
    for label, sizes in {"training data": costs.pairs, "tasks": costs.tasks}.items():
        if names := [id for id, corpus in sizes.items() if None in (corpus.queries.count, corpus.passages.count)]:
            lines.append(f"{label} of unknown size, until they are read: {', '.join(names)}")
    if names := [id for id, params in costs.params.items() if params.total is None]:
        lines.append(f"parameters, until the checkpoints are there: {', '.join(names)}")
    if costs.study.encoders:
        lines.append(f"encoders made elsewhere, of any size: {', '.join(costs.study.encoders)}")
    if names := [
        name for name, prompts in costs.icl.items() if prompts.items is None or prompts.item_characters is None
    ]:
        lines.append(f"in-context tasks of unknown size: {', '.join(names)}")
    return lines

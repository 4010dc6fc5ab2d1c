"""`retscale plan STUDY`: what would it cost, and what does it still need?"""

import argparse
from collections import Counter
from pathlib import Path

from retscale import paths
from retscale.errors import UserError
from retscale.phrase import hint
from retscale.plan import words
from retscale.plan.costs import Costs
from retscale.plan.estimate import FORMULA, STATE_BYTES, VECTOR_BYTES, Cost, Gpu, disk, total
from retscale.plan.jobs import Job, done, jobs
from retscale.plan.needs import downloads, gated, missing
from retscale.plan.sizes import facts
from retscale.study import load
from retscale.study.study import Study
from retscale.terminal import answer

EACH = ("checkpoint", "finetune", "evaluate", "icl")  # stages that use a GPU, once or more for each checkpoint


def main(arguments: argparse.Namespace) -> int:
    """Print the plan of a study; raises UserError that says what is wrong with it."""
    gpu = machine(arguments.gpu, arguments.utilisation)
    study = load.study(arguments.study)
    for line in (f"{arguments.study}: {study.file.title}", "", *plan(study, paths.folder(study.name), gpu)):
        answer(line)
    return 0


def machine(name: str, utilisation: float) -> Gpu:
    known = facts()["gpus"]
    if name not in known:
        raise UserError(f"--gpu: unknown {name!r}{hint(name, known)}")
    if not 0 < utilisation <= 1:
        raise UserError(f"--utilisation must be above 0 and at most 1, found {utilisation:g}")
    return Gpu(name, known[name], utilisation)


def plan(study: Study, results: Path, gpu: Gpu) -> list[str]:
    """The whole answer, line by line."""
    found, costs = jobs(study), Costs(study, results)
    finished = done(found, results)
    left = [job for number, job in enumerate(found) if number not in finished]
    lines = [
        f"Tokens, FLOPs, GPU-hours and disk of the jobs still to do, on {gpu.name} ({gpu.peak:.4g} FLOP/s, dense bf16)",
        f"at {gpu.utilisation:.0%}. `7 ?`: seven parts are unknown and not in the sum; they are listed below.",
    ]
    lines += words.table(
        ["stage", "jobs", "done", "tokens", "FLOPs", "GPU-hours", "disk"], stages(found, left, costs, gpu)
    )
    lines += ["", "GPU-hours of each checkpoint, done or not:"]
    lines += words.table(["size", "checkpoints", "parameters", *EACH], ladder(found, costs, gpu))
    for name, entries in {
        "downloads": downloads(study, left, costs),
        "disk while they run": running(left, costs),
        "gated": gated(study),
        "missing": missing(study),
        "unknown": unknown(costs),
        "how": FORMULA.format(**facts()).splitlines(),
    }.items():
        lines += ["", name, *(f"  {entry}" for entry in entries or ["nothing"])]
    return lines


def stages(found: list[Job], left: list[Job], costs: Costs, gpu: Gpu) -> list[list[str]]:
    """One row per stage, in the order of the work, and their sum."""
    count, to_do = (Counter(job.stage for job in some) for some in (found, left))
    parts: dict[str, list[Cost]] = {stage: [] for stage in count}
    for job in left:
        parts[job.stage] += costs.of(job)
    rows = [row(stage, count[stage], to_do[stage], some, gpu) for stage, some in parts.items()]
    return [*rows, row("total", len(found), len(left), [cost for some in parts.values() for cost in some], gpu)]


def row(name: str, count: int, to_do: int, costs: list[Cost], gpu: Gpu) -> list[str]:
    return [
        name,
        f"{count:,}",
        f"{count - to_do:,}",
        words.cell(total(cost.tokens for cost in costs), words.short),
        words.cell(total(cost.flops for cost in costs), "{:.2e}".format),
        words.cell(total(gpu.hours(cost.flops) for cost in costs), words.hours),
        words.cell(disk(costs), words.size),
    ]


def ladder(found: list[Job], costs: Costs, gpu: Gpu) -> list[list[str]]:
    """One row for the checkpoints of a family and size that cost the same."""
    parts: dict[str, dict[str, list[Cost]]] = {}
    for job in found:
        if job.stage in EACH and job.name[0] in costs.params:
            parts.setdefault(job.name[0], {stage: [] for stage in EACH})[job.stage] += costs.of(job)
    rows = Counter()
    for id, by_stage in parts.items():
        checkpoint = costs.study.checkpoints[id]
        cells = [words.cell(total(gpu.hours(cost.flops) for cost in some), words.hours) for some in by_stage.values()]
        rows[f"{checkpoint.family} {checkpoint.size}", words.short(costs.params[id].total), *cells] += 1
    return [[name, f"{count:,}", *rest] for (name, *rest), count in rows.items()]


def running(left: list[Job], costs: Costs) -> list[str]:
    """What the jobs still to do keep on disk until they end."""
    lines, study = [], costs.study
    # Adapters and biases are a small share of the weights.
    whole = [job.name[0] for job in left if job.stage == "finetune" and study.recipes[job.name[1]].tuning == "full"]
    if most := max((costs.params[id].total or 0 for id in whole), default=0):
        size = words.size(STATE_BYTES * most)
        lines.append(f"a full fine-tuning keeps its state: at most {size} (weights and two moments)")
    searched = {task for job in left if job.stage == "evaluate" for task in job.name[2:]}
    if most := max((costs.tasks[task].passages.count or 0 for task in searched), default=0):
        narrow, wide = (words.size(VECTOR_BYTES[study.file.evaluate.storage] * most * width) for width in (1024, 4096))
        lines.append(
            f"an evaluation keeps the vectors of its corpus: at most {most:,} documents, {narrow} at width 1,024 and "
            f"{wide} at 4,096"
        )
    return lines


def unknown(costs: Costs) -> list[str]:
    """What is not in the sums, by name."""
    lines = []
    for what, sizes in {"training data": costs.pairs, "tasks": costs.tasks}.items():
        if names := [id for id, corpus in sizes.items() if None in (corpus.queries.count, corpus.passages.count)]:
            lines.append(f"{what} of unknown size, until they are read: {', '.join(names)}")
    if names := [id for id, params in costs.params.items() if params.total is None]:
        lines.append(f"parameters, until the checkpoints are there: {', '.join(names)}")
    if costs.study.encoders:
        lines.append(f"encoders made elsewhere, of any size: {', '.join(costs.study.encoders)}")
    if names := [name for name, prompts in costs.icl.items() if prompts.items is None or prompts.item is None]:
        lines.append(f"in-context tasks of unknown size: {', '.join(names)}")
    return lines

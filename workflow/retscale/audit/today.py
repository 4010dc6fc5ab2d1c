"""The study file of today against the results: what was edited since, what was not run yet, and what no study names."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from retscale import paths
from retscale.audit.place import plain
from retscale.audit.target import SUFFIX
from retscale.audit.walk import Walk
from retscale.common.phrase import SHOWN, counted
from retscale.errors import UserError
from retscale.plan.jobs import Job, jobs
from retscale.plan.why import differences
from retscale.provenance import record
from retscale.study.study import Study


def compare(study: Study, walked: Walk, whole: bool) -> Iterator[str]:
    """Notes. `whole`: the whole study was walked, so that more than what stands behind some output can be missed."""
    folder, edited, missing = paths.folder(study.name), Counter(), []
    kept = (paths.Results(str(folder)).finetune(*encoder) for encoder in study.kept_encoders)
    named = {plain(record.path_of(Path(path))) for path in kept}
    for job in jobs(study):
        for output in job.makes:
            path = plain(record.path_of(folder / output))
            named.add(path)
            if (node := walked.nodes.get(path)) is None:
                missing += [output] if whole and not (folder / output).exists() else []
                continue
            for difference in differences(node.spec, job.makes[output]()):
                edited[job.stage, difference] += 1
            if len(job.makes) == 1 and (difference := _reads(job, list(node.by_source), folder)):
                edited[job.stage, difference] += 1
    for (stage, difference), count in edited.items():
        yield f"the study was edited since {counted(count, 'result')} of {stage}: {difference}"
    if missing:
        yield f"the study names {counted(len(missing), 'result')} that have not been made: {_some(missing)}"
    behind = [str(path) for path, node in walked.nodes.items() if path not in named and path.is_relative_to(folder)]
    if behind:
        yield f"{counted(len(behind), 'result')} that the study no longer names stand behind others: {_some(behind)}"


def _reads(job: Job, sources: list[Path], folder: Path) -> str:
    """How the inputs of a record differ from those that its job would read now."""
    reads = {plain(record.path_of(folder / path)) for path in job.reads}
    own = {path for path in sources if path.is_relative_to(folder)}  # a miner may read an encoder of another study
    more, less = reads - own, own - reads
    parts = [
        f"{word} {_some(sorted(str(path.relative_to(folder)) for path in part))}"
        for word, part in (("also reads", more), ("no longer reads", less))
        if part
    ]
    return ", and ".join(parts)


def extra(folder: Path, walked: Walk) -> Iterator[str]:
    """Results in the folder of a whole study that stand behind nothing in it, and files that no record lists."""
    records = {plain(path) for path in folder.rglob(f"*{SUFFIX}")} - walked.hashed.keys()
    listed = {*walked.hashed, *records}
    for path in records:
        try:
            listed |= {plain(path.parent / row["path"]) for row in record.parse(path)["outputs"]}
        except UserError:
            continue
    if records:
        yield f"{counted(len(records), 'result')} stand behind no figure: {_some(sorted(map(str, records)))}"
    files = {
        plain(path)
        for path in folder.rglob("*")
        if not path.is_dir() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    }
    if unlisted := sorted(map(str, files - listed)):
        yield f"{counted(len(unlisted), 'file')} are in no record: {_some(unlisted)}"


def _some(names: list[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")

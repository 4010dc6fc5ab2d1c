"""The stage `task`: queries.parquet, corpus.parquet, qrels.parquet and task.json."""

from pathlib import Path

from retscale.common.files import sha256
from retscale.common.terminal import say
from retscale.task.card import TaskCard
from retscale.task.collection import Collection, check, irregularities, sample
from retscale.task.config import Spec, TaskData


def run(spec: dict, inputs: dict, out: Path) -> dict:
    """Read the collection, subsample it as asked, write it; returns counts of what was assumed, dropped or odd."""
    task = Spec.model_validate(spec)
    found = collect(task)
    check(found, task.id)
    found.judged_only |= task.judged_only
    found = sample(found, task.max_queries, task.max_documents, task.seed, found.judged_only)
    if task.ignore_identical_ids is not None:
        found.ignore_identical_ids = task.ignore_identical_ids
    found.kept = irregularities(found)
    for how, counts in found.notes.items():
        for what, count in counts.items():
            say(f"task {task.id}: {how}: {what} ({count:,})")
    write(task.id, found, out)
    read = {path.name: sha256(path) for path in task.source.files()} if task.source.kind == "folder" else {}
    return found.notes | {"read": read}


def write(id: str, found: Collection, out: Path) -> None:
    """The three tables, for p-MRR a fourth, and task.json with their sizes and hashes."""
    tables = {"queries": found.queries, "corpus": found.corpus, "qrels": found.qrels}
    if found.changed is not None:
        tables["changed"] = found.changed
    for name, table in tables.items():
        table.to_parquet(out / f"{name}.parquet", index=False)
    facts = {
        "id": id,
        "queries": len(found.queries),
        "documents": len(found.corpus),
        "judgements": len(found.qrels),
        "judged_only": found.judged_only,
        "ignore_identical_ids": found.ignore_identical_ids,
        "follows": found.instruction_metric,
        "sha256": {name: sha256(out / f"{name}.parquet") for name in tables},
        "notes": found.notes,
    }
    TaskCard.write(out / "task.json", facts)


def collect(task: TaskData) -> Collection:
    """The whole collection of `task`; only the source that is named is imported."""
    if task.source.kind == "wheel":
        from retscale.task import wheel_rows

        return wheel_rows.collect(task.source, task.judged_only)
    if task.source.kind == "folder":
        from retscale.task import beir_folder

        return beir_folder.collect(task.source)
    from retscale.task import mteb_task

    return mteb_task.collect(task.source)

"""The stage `task`: queries.parquet, corpus.parquet, qrels.parquet and task.json."""

from pathlib import Path

from retscale.common.files import sha256
from retscale.common.terminal import say
from retscale.task.card import TaskCard
from retscale.task.collection import Collection, check, irregularities, sample
from retscale.task.config import Spec, TaskData


def run(values: dict, inputs: dict, out: Path) -> dict:
    """Read the collection, subsample it as asked, write it; returns counts of what was assumed, dropped or odd."""
    spec = Spec.model_validate(values)
    collection = collect(spec)
    check(collection, spec.id)
    collection.judged_only |= spec.judged_only
    collection = sample(collection, spec.max_queries, spec.max_documents, spec.seed, collection.judged_only)
    if spec.ignore_identical_ids is not None:
        collection.ignore_identical_ids = spec.ignore_identical_ids
    if spec.instruction:
        collection.queries["instruction"] = spec.instruction
    if not spec.instructed:
        collection.queries = collection.queries.drop(columns="instruction", errors="ignore")
    collection.kept = irregularities(collection)
    for kind, counts in collection.notes.items():
        for reason, count in counts.items():
            say(f"task {spec.id}: {kind}: {reason} ({count:,})")
    write(spec.id, collection, out)
    sha256_of_files = {path.name: sha256(path) for path in spec.source.files()} if spec.source.kind == "folder" else {}
    return collection.notes | {"read": sha256_of_files}


def write(id: str, collection: Collection, out: Path) -> None:
    """The three tables, for p-MRR a fourth, and task.json with their sizes and hashes."""
    tables = {"queries": collection.queries, "corpus": collection.corpus, "qrels": collection.qrels}
    if collection.changed is not None:
        tables["changed"] = collection.changed
    for name, table in tables.items():
        table.to_parquet(out / f"{name}.parquet", index=False)
    card = {
        "id": id,
        "queries": len(collection.queries),
        "documents": len(collection.corpus),
        "judgements": len(collection.qrels),
        "judged_only": collection.judged_only,
        "ignore_identical_ids": collection.ignore_identical_ids,
        "follows": collection.instruction_metric,
        "sha256": {name: sha256(out / f"{name}.parquet") for name in tables},
        "notes": collection.notes,
    }
    TaskCard.write(out / "task.json", card)


def collect(task: TaskData) -> Collection:
    """The whole collection of `task`; only the source that is named is imported."""
    if task.source.kind == "wheel":
        from retscale.task import aspects, wheel_rows

        if task.source.aspects:
            return aspects.collect(task.source)
        return wheel_rows.collect(task.source, task.judged_only)
    if task.source.kind == "folder":
        from retscale.task import beir_folder

        return beir_folder.collect(task.source)
    from retscale.task import mteb_task

    return mteb_task.collect(task.source, task.instruction, task.instructed)

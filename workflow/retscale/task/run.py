"""The stage `task`: queries.parquet, corpus.parquet, qrels.parquet and task.json."""

from pathlib import Path

from retscale.common.files import sha256
from retscale.common.terminal import say
from retscale.errors import UserError
from retscale.task.card import TaskCard
from retscale.task.collection import Collection, check, irregularities, sample
from retscale.task.config import CutSource, FolderSource, Spec, TaskData


def run(values: dict, inputs: dict, out: Path) -> dict:
    """Read the collection, subsample it as asked, write it; returns counts of what was assumed, dropped or odd.

    Of a cut the collection is read from its `whole` (task.json) and the `runs` of encoders on that.
    """
    spec = Spec.model_validate(values)
    collection = _cut(spec, spec.source, inputs) if isinstance(spec.source, CutSource) else _read(spec)
    collection.kept = irregularities(collection)
    for kind, counts in collection.notes.items():
        for reason, count in counts.items():
            say(f"task {spec.id}: {kind}: {reason} ({count:,})")
    write(spec.id, collection, out)
    files = spec.source.files() if isinstance(spec.source, FolderSource) else []
    return collection.notes | {"read": {path.name: sha256(path) for path in files}}


def _read(spec: Spec) -> Collection:
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
    return collection


def _cut(spec: Spec, source: CutSource, inputs: dict) -> Collection:
    from retscale.task import cut

    if not inputs.get("whole"):
        raise UserError(f"--whole: give the task.json of {source.of}, of which {spec.id} is a cut")
    return cut.cut(spec.id, source, spec.seed, inputs["whole"], inputs.get("runs", []))


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

"""Tasks that a study cuts itself: the settings that they take from their whole task, and the checks of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from retscale import paths
from retscale.encoder.config import GIVEN
from retscale.errors import UserError
from retscale.plan import sizes
from retscale.study import catalog, validation
from retscale.task.config import RetrievalTask

if TYPE_CHECKING:
    from retscale.study.study import Study

CUT_KEYS = ("id", "cut_of", "pool", "seed", "alone", "note")  # all that an entry with a pool may have
WHOLE_KEYS = ("source", "judged_only", "max_queries", "max_documents", "ignore_identical_ids", "licence", "origin")


def completed(entries: list, every: list, file: str, where: str) -> list:
    """The `entries`, of which those with a `pool` gain the settings of their whole task.

    The whole task is an entry of the study (`every`) or of the catalog. UserError for a key that a cut cannot have.
    """
    return [
        _completed(entry, every, file, f"{where}.{i}") if isinstance(entry, dict) and "pool" in entry else entry
        for i, entry in enumerate(entries)
    ]


def _completed(entry: dict, every: list, file: str, where: str) -> dict:
    if others := [key for key in entry if key not in CUT_KEYS]:
        raise UserError(
            f"{file}: {where}.{others[0]}: a cut has all but its documents from its whole task; remove `{others[0]}`, and "
            "name that task as `cut_of`"
        )
    if "cut_of" not in entry:
        raise UserError(f"{file}: {where}: `pool` needs `cut_of`, the task whose corpus it cuts; add it")
    by_id = {_id(other): other for other in every}
    name = str(entry["cut_of"]) if entry["cut_of"] in by_id else catalog.task_name(str(entry["cut_of"]))
    if name not in by_id and name not in catalog.entries("task"):
        known = {*by_id, *catalog.entries("task")}
        raise validation.unknown(file, f"{where}.cut_of", "task", name, known, catalog.listing("task"))
    _, whole = catalog.resolve("task", by_id.get(name, name), file, where)
    if cut := whole.get("cut_of"):
        raise UserError(f"{file}: {where}.cut_of: {name} is itself a cut of {cut}; cut {cut}, or another whole task")
    return {**{key: whole[key] for key in WHOLE_KEYS if key in whole}, **entry, "cut_of": name}


def _id(entry: str | dict) -> str:
    own = entry.get("id") if isinstance(entry, dict) else None
    return str(own or catalog.name_in_catalog("task", entry))


def origins(tasks: dict[str, RetrievalTask], known: dict[str, str]) -> dict[str, str]:
    """The name in the catalog of the whole task of each cut; `known` has the names of tasks that are in the study."""
    names = {id: known.get(task.cut_of, task.cut_of) for id, task in tasks.items() if task.pool}
    return {id: name for id, name in names.items() if name in catalog.entries("task")}


def wholes(tasks: dict[str, RetrievalTask], file: str) -> dict[str, RetrievalTask]:
    """The tasks of the catalog that some of `tasks` are cut from, and that are not in the study themselves."""
    names = {task.cut_of for task in tasks.values() if task.pool} - tasks.keys()
    return {
        name: validation.validate(RetrievalTask, catalog.entries("task")[name], file, f"cut_of ({name})")
        for name in sorted(names)
    }


def whole(study: Study, id: str, results: paths.Results) -> list[str]:
    """The results of the whole task, which the job of a cut reads; empty for other tasks."""
    return [results.task(study.tasks[id].cut_of)] if id in study.pools else []


def runs(study: Study, id: str, results: paths.Results) -> list[str]:
    """The evaluations on the whole task whose rankings the job of a cut reads; empty for other tasks."""
    encoders = study.pools[id].encoders if id in study.pools else []
    return [results.evaluate(encoder, GIVEN, study.tasks[id].cut_of) for encoder in encoders]


def check(study: Study, file: str) -> None:
    """UserError for a cut that needs something the study does not have."""
    for id, pool in study.pools.items():
        where, of = f"tasks ({id}).pool", study.tasks[id].cut_of
        if study.published:
            raise UserError(f"{file}: {where}: published results have no documents to cut; remove the task")
        if id in study.held_out:
            raise UserError(f"{file}: held_out: {id} is cut from {of} here; hold out {of}")
        for i, name in enumerate(pool.encoders):
            if name not in study.encoders:
                raise validation.unknown(file, f"{where}.encoders.{i}", "encoder", name, study.encoders)
        if pool.encoders and of not in study.tasks:
            raise UserError(
                f"{file}: {where}.encoders: their rankings of {of} are read, so it must be evaluated; add it to `tasks` "
                "or `contrasts`"
            )
        if pool.encoders and pool.depth > study.file.evaluate.k:
            raise UserError(
                f"{file}: {where}.depth is {pool.depth}, but rankings hold `evaluate.k` documents, {study.file.evaluate.k}; "
                "lower it, or raise that"
            )


def check_sizes(study: Study) -> None:
    """UserError for a pool as large as its corpus, if the size of the corpus is known from a job or from mteb."""
    results = paths.Results(str(paths.folder(study.name)))
    for id, pool in study.pools.items():
        of = study.tasks[id].cut_of
        size = sizes.of_task(study.tasks_to_read[of], Path(results.task(of))).passages.count
        if size and (flaw := pool.too_large(int(size))):
            raise UserError(f"{study.path}: tasks ({id}): {flaw}")

"""What a study's retrieval tasks are called elsewhere: in the catalog, by mteb, in tables that others published."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retscale.study import catalog

if TYPE_CHECKING:
    from retscale.study.study import Study


def aliases_of(study: Study, task: str) -> set[str]:
    """The names of a task in the catalog and in mteb; its id in the study may be another."""
    source = study.tasks[task].source
    own = {study.origins[task]} if task in study.origins else set()
    own |= {source.name} if source.kind == "mteb" else set()
    return own | {name for pair in catalog.aliases().items() if own & set(pair) for name in pair}


def known(study: Study) -> set[str]:
    """Every name of a retrieval task or group: the study's own, the catalog's and mteb's."""
    return {*study.tasks, *study.units, *catalog.entries("task"), *catalog.grouped_tasks(), *catalog.aliases()}


def published(study: Study) -> dict[str, str | None]:
    """The task or group of the study that each name in a published table means; None if the study lacks it.

    A name that fits several tasks, and is the id of none, is ambiguous and left out.
    """
    own, aliases = {*study.tasks, *study.units}, catalog.aliases()
    ids_by_name: dict[str, list[str]] = {}
    for id in (id for id, task in study.tasks.items() if not task.pool):
        for name in aliases_of(study, id):
            ids_by_name.setdefault(name, []).append(id)
    meanings: dict[str, str | None] = {}
    for name in known(study) | ids_by_name.keys():
        name_here, ids = aliases.get(name, name), ids_by_name.get(name, [])
        if name_here in own or len(ids) < 2:
            meanings[name] = name_here if name_here in own else ids[0] if ids else None
    return meanings

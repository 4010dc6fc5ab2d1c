"""The same thing under two ids, which would count twice: in a mean, in a trend, in what a recipe trains on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel

from retscale.errors import UserError
from retscale.icl.config import IclTask
from retscale.reference.config import Reference
from retscale.task.config import TaskData

if TYPE_CHECKING:
    from retscale.study.study import Study

# What makes two entries the same, whatever they are called and described as.
IDENTIFYING = {
    "checkpoints": {"source", "tokenizer"},
    "pairs": {"source", "collection", "max_pairs", "seed"},
    "tasks": {*TaskData.model_fields, "pool"},
    "icl": set(IclTask.model_fields) - {"licence", "origin", "note"},
    "references": set(Reference.model_fields),
}
# What a seed is for; without it a seed means nothing.
SAMPLED = ("max_pairs", "max_queries", "max_documents", "pool", "items")


def check(study: Study, file: str) -> None:
    """UserError names two ids of one thing. Parts of one data set, by other limits or seeds, are other things."""
    for section, keys in IDENTIFYING.items():
        ids: dict[str, str] = {}
        for id, entry in getattr(study, section).items():
            if section == "checkpoints" and id in study.repeats.checkpoints:
                continue
            if (first := ids.setdefault(contents(entry, keys), id)) != id:
                raise UserError(f"{file}: {section}: {first} and {id} are the same and would count twice; keep one")


def contents(entry: BaseModel, keys: set[str]) -> str:
    """The values of `keys`, with paths spelled out."""
    data = entry.model_dump(mode="json", include=keys)
    if not any(data.get(key) for key in SAMPLED):
        data.pop("seed", None)
    for source in filter(None, (data.get("source"), data.get("collection"))):
        for key in ("path", "folder", "file"):
            if source.get(key):
                source[key] = str(Path(source[key]).expanduser().resolve())
    return json.dumps(data, sort_keys=True)

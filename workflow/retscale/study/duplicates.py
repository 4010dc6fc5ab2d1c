"""Entries that are the same under two ids, and would count twice: in a mean, in a trend, or in training."""

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

# Entries that agree in these keys are the same, whatever their ids and descriptions.
IDENTIFYING = {
    "checkpoints": {"source", "tokenizer"},
    "pairs": {"source", "collection", "max_pairs", "seed"},
    "tasks": {*TaskData.model_fields, "pool"},
    "icl": set(IclTask.model_fields) - {"licence", "origin", "note"},
    "references": set(Reference.model_fields),
}
# Keys that draw a sample; without any of them the seed has no effect.
SAMPLED = ("max_pairs", "max_queries", "max_documents", "pool", "items")


def check(study: Study, file: str) -> None:
    """UserError if two entries are the same. Samples of one data set with other limits or seeds are different entries."""
    for section, keys in IDENTIFYING.items():
        ids: dict[str, str] = {}
        for id, entry in getattr(study, section).items():
            if section == "checkpoints" and id in study.repeats.checkpoints:
                continue
            if (first := ids.setdefault(contents(entry, keys), id)) != id:
                raise UserError(f"{file}: {section}: {first} and {id} are the same and would count twice; keep one")


def contents(entry: BaseModel, keys: set[str]) -> str:
    """The values of `keys` as one string, with absolute paths."""
    data = entry.model_dump(mode="json", include=keys)
    if not any(data.get(key) for key in SAMPLED):
        data.pop("seed", None)
    for source in filter(None, (data.get("source"), data.get("collection"))):
        for key in ("path", "folder", "file"):
            if source.get(key):
                source[key] = str(Path(source[key]).expanduser().resolve())
    return json.dumps(data, sort_keys=True)

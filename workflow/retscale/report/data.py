"""Data sets: their counts from the stages that read them, their licences and origins from the study."""

import json
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from retscale.external.config import PUBLISHED
from retscale.pairs.card import PairsCard
from retscale.report.config import Described
from retscale.task.card import TaskCard


def described(data: TaskCard | PairsCard, by_id: dict[str, Described]) -> dict:
    """One data set: counts from its file; licence, origin and note from the study."""
    return data.model_dump() | by_id.get(data.id, Described()).model_dump(include={"licence", "origin", "note"})


def mined(path: Path) -> dict:
    """What was counted when these negatives were mined, and the `id` of their data set."""
    return {"id": path.parent.name, **json.loads(pq.read_schema(path).metadata[b"facts"])}


def odd(notes: dict[str, dict[str, int]]) -> str:
    """`kept: empty document 2; dropped: ...`, what a task's stage counted."""
    names = ("kept", "dropped", "assumed", "pool")
    parts = {name: ", ".join(f"{what} {n}" for what, n in notes.get(name, {}).items()) for name in names}
    return "; ".join(f"{name}: {words}" for name, words in parts.items() if words)


def tasks(paths: list[Path], by_id: dict[str, Described], ties: dict[str, int]) -> list[dict]:
    """Retrieval tasks; `ties`: the most queries of each in a ranking of which two documents have the same score."""
    table = [described(TaskCard.read(path), by_id) for path in paths]
    return [row | {"odd": odd(row["notes"]), "ties": int(ties.get(row["id"], 0))} for row in table]


def training(paths: list[Path], by_id: dict[str, Described]) -> list[dict]:
    """Sets of training pairs."""
    return [described(PairsCard.read(path), by_id) for path in paths]


def models(by_id: dict[str, Described], checkpoints: pd.DataFrame) -> dict[str, Described]:
    """Checkpoints of which is known where they, or the numbers of their parameters and tokens, are from."""
    published = checkpoints[checkpoints["source"] == PUBLISHED]
    known = {name: each for name, each in by_id.items() if each.licence or each.origin}
    known |= {row.checkpoint: Described(tokens=row.revision or "") for row in published.itertuples()}
    return dict(sorted(known.items()))

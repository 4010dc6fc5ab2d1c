"""The texts of a retrieval task or of a training data set, some at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pyarrow.parquet as pq

from retscale.errors import UserError
from retscale.model.prompt import Side, instructed
from retscale.pairs.card import PairsCard
from retscale.task.card import TaskCard
from retscale.task.inputs import by_task
from retscale.tokens.config import Spec


@dataclass(frozen=True)
class Collection:
    """`sources`: sha256 of the table with the texts of a side. `copied`: whether passages that are copies of each other
    must be told, as in training. `instruction`: what precedes every query."""

    AT_A_TIME: ClassVar[int] = 2**15

    folder: Path
    sources: dict[Side, str]
    copied: bool
    instruction: str | None = None

    def texts(self, side: Side) -> Iterator[list[str]]:
        """In the order of the table. Of a document title and text, joined by a blank as in mteb."""
        if not self.copied:
            for titles, texts in self._columns("corpus", "title", "text"):
                yield [f"{title} {text}".strip() for title, text in zip(titles, texts)]
        else:
            table, id, column = {
                "query": ("pairs", "query_id", "query"),
                "passage": ("passages", "passage_id", "text"),
            }[side]
            for ids, texts in self._columns(table, id, column):
                if empty := [id for id, text in zip(ids, texts) if not text.strip()]:
                    raise UserError(f"{side} {empty[0]} is empty; run the pairs stage again")
                yield [instructed(self.instruction, text) for text in texts] if side == "query" else texts

    def _columns(self, table: str, *columns: str) -> Iterator[list[list[str]]]:
        for batch in pq.ParquetFile(self.folder / f"{table}.parquet").iter_batches(self.AT_A_TIME, columns=[*columns]):
            yield [batch[column].to_pylist() for column in columns]


def collections(spec: Spec, inputs: dict) -> list[tuple[str, Collection]]:
    """Those of the spec by name; UserError if one is not among the inputs, or if they are of both kinds."""
    tasks, pairs = (inputs.get(flag, []) for flag in ("tasks", "pairs"))
    if bool(tasks) == bool(pairs):
        raise UserError("tokens: give either --tasks or --pairs")
    if tasks:
        if told := [name for name, collection in spec.tasks.items() if collection.instruction]:
            raise UserError(f"--spec: tasks.{told[0]}.instruction: of tasks only documents are tokenized; remove it")
        return [(name, _of_task(path)) for name, path in by_task(spec.tasks, tasks)]
    sets = {PairsCard.read(path).id: path for path in pairs}
    if missing := [name for name in spec.tasks if name not in sets]:
        raise UserError(
            f"--pairs: no pairs.json of {', '.join(missing)}, which the spec names; given: {', '.join(sets)}"
        )
    return [(name, _of_pairs(sets[name], collection.instruction)) for name, collection in spec.tasks.items()]


def _of_task(path: Path) -> Collection:
    return Collection(path.parent, {"passage": TaskCard.read(path).sha256["corpus"]}, copied=False)


def _of_pairs(path: Path, instruction: str | None) -> Collection:
    files = PairsCard.read(path).files
    sources: dict[Side, str] = {"query": files["pairs.parquet"], "passage": files["passages.parquet"]}
    return Collection(path.parent, sources, True, instruction)

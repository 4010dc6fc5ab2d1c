"""A collection from a folder in the BEIR layout, unchanged: ids and duplicates are part of the benchmark."""

import math
import reprlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd

from retscale.common import jsonl
from retscale.errors import UserError
from retscale.task.collection import Collection, judged_collection
from retscale.task.config import FolderSource
from retscale.task.qrels import judgments

# Title and text of an object, and what a reader of the scores may want to know about them.
Parts = tuple[str, str, list[str]]


def collect(source: FolderSource) -> Collection:
    """The queries with a judgment in `source.split`; UserError names the first unreadable line."""
    folder = source.folder()
    qrels = folder / "qrels" / f"{source.split}.tsv"
    if not (qrels.exists() or gzipped(qrels).exists()):
        splits = {path.name.removesuffix(".gz").removesuffix(".tsv") for path in qrels.parent.glob("*")}
        raise UserError(f"there is no {qrels}, nor with .gz; splits there: {', '.join(sorted(splits)) or 'none'}")
    assumed: Counter[str] = Counter()
    queries = [(id, text) for id, _, text in _texts(folder / "queries.jsonl", _query, assumed)]
    return judged_collection(
        str(qrels),
        queries=pd.DataFrame(queries, columns=["query_id", "text"], dtype="str"),
        corpus=pd.DataFrame(
            _texts(folder / "corpus.jsonl", _document, assumed), columns=["doc_id", "title", "text"], dtype="str"
        ),
        qrels=pd.DataFrame(
            judgments(jsonl.lines(_existing_file(qrels)), qrels, assumed), columns=["query_id", "doc_id", "score"]
        ),
        assumed=assumed,
    )


def _texts(path: Path, parts: Callable[[dict], Parts], assumed: Counter[str]) -> Iterator[tuple[str, str, str]]:
    """Id, title and text of each line; `assumed` counts the departures from the layout that `parts` and the id show."""
    for number, row in jsonl.objects(_existing_file(path)):
        try:
            title, text, notes = parts(row)
            if "_id" in row:
                id = row["_id"]
            else:
                id, notes = row["id"], [*notes, "`id` read as `_id`"]
            if isinstance(id, bool) or not isinstance(id, str | int) or id == "":
                raise ValueError(f"the id {reprlib.repr(id)} is not a string")
            if not (isinstance(title, str) and isinstance(text, str)):
                raise ValueError("title and text must be strings")
        except (ValueError, KeyError) as error:
            reason = f"no {error} among {', '.join(row)}" if isinstance(error, KeyError) else error
            raise UserError(f"{path}, line {number}: not an object with _id and text ({reason})") from None
        if notes:
            assumed.update(f"{path.name}: {note}" for note in notes)
        yield str(id), title, text


def _document(row: dict) -> Parts:
    """Title and text; either is empty if null, and may be missing if the other is given."""
    title, notes = row.get("title"), []
    if isinstance(title, int) and not isinstance(title, bool) or isinstance(title, float) and math.isfinite(title):
        title, notes = str(title), ["title that is a number"]
    if title and "text" not in row:
        others = row.keys() - {"_id", "id", "title"}
        if not any(isinstance(row[key], str) for key in others):  # such a string may be the text
            return title, "", [*notes, "title without text"]
    return _or_empty(title), _or_empty(row["text"]), notes


def _query(row: dict) -> Parts:
    if "text" not in row and "query" in row:
        return "", _or_empty(row["query"]), ["`query` read as `text`"]
    return "", _or_empty(row["text"]), []


def _or_empty(part: str | None) -> str:
    return "" if part is None else part


def _existing_file(path: Path) -> Path:
    """`path` or the same with .gz; raises UserError unless exactly one of them exists."""
    existing = [file for file in (path, gzipped(path)) if file.exists()]
    if len(existing) != 1:
        raise UserError(
            f"there is {'both' if existing else 'neither'} {path} {'and' if existing else 'nor'} {gzipped(path).name}; a "
            "BEIR folder contains corpus.jsonl, queries.jsonl and qrels/, each file plain or gzipped"
        )
    return existing[0]


def gzipped(path: Path) -> Path:
    return path.with_name(f"{path.name}.gz")

"""A collection from a folder in the BEIR layout, taken as it is: ids and duplicates are part of the benchmark."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from retscale.errors import UserError
from retscale.task.collection import Collection
from retscale.task.config import FolderSource


def collect(source: FolderSource) -> Collection:
    """Queries are those with at least one judgement in `source.split`; UserError names the first unreadable line."""
    folder = Path(source.path)
    qrels = pd.DataFrame(_judgements(folder / "qrels" / f"{source.split}.tsv"), columns=["query_id", "doc_id", "score"])
    corpus = [(r["_id"], r.get("title") or "", r["text"]) for r in _lines(folder / "corpus.jsonl")]
    judged = set(qrels["query_id"])
    queries = [(r["_id"], r["text"]) for r in _lines(folder / "queries.jsonl") if r["_id"] in judged]
    return Collection(
        queries=pd.DataFrame(queries, columns=["query_id", "text"]),
        corpus=pd.DataFrame(corpus, columns=["doc_id", "title", "text"]),
        qrels=qrels,
    )


def _lines(path: Path) -> Iterator[dict]:
    number = 0
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    row = json.loads(line)
                    yield {**row, "_id": str(row["_id"]), "text": row["text"] or ""}
    except OSError as error:
        raise UserError(
            f"cannot read {path}: {error.strerror}; a BEIR folder holds corpus.jsonl, queries.jsonl, qrels/"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}, line {number}: not an object with _id and text ({error})") from None


def _judgements(path: Path) -> Iterator[tuple[str, str, int]]:
    number = 0
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            for number, row in enumerate(csv.reader(lines, delimiter="\t"), 1):
                if row and not (number == 1 and row[-1] == "score"):
                    query, document, score = row
                    yield query, document, int(score)
    except OSError as error:
        splits = ", ".join(sorted(p.stem for p in path.parent.glob("*.tsv"))) or "none"
        raise UserError(f"cannot read {path}: {error.strerror}; splits there: {splits}") from None
    except ValueError as error:
        raise UserError(f"{path}, line {number}: expected query, document and score, tab-separated ({error})") from None

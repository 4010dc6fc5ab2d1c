"""A collection from a folder in the BEIR layout, taken as it is: ids and duplicates are part of the benchmark."""

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from retscale.errors import UserError
from retscale.task.collection import Collection, judged
from retscale.task.config import FolderSource

LINE = 2**26  # bytes; a longer line is no document but a file without line ends
GRADE = 10**9  # a judgement that is no grade but an id or a date in the wrong column
HEADS = ("score", "relevance", "rel", "label")  # what the last column of a header may be called


def collect(source: FolderSource) -> Collection:
    """The queries with a judgement in `source.split`; UserError names the first unreadable line."""
    folder = source.folder()
    judgements = folder / "qrels" / f"{source.split}.tsv"
    if not (judgements.exists() or gzipped(judgements).exists()):
        splits = {path.name.split(".tsv")[0] for path in judgements.parent.glob("*.tsv*")}
        raise UserError(f"there is no {judgements}, nor with .gz; splits there: {', '.join(sorted(splits)) or 'none'}")
    return judged(
        queries=pd.DataFrame(
            [(id, text) for id, _, text in _texts(folder / "queries.jsonl")], columns=["query_id", "text"], dtype="str"
        ),
        corpus=pd.DataFrame(_texts(folder / "corpus.jsonl"), columns=["doc_id", "title", "text"], dtype="str"),
        qrels=pd.DataFrame(_judgements(judgements), columns=["query_id", "doc_id", "score"]),
    )


def _texts(path: Path) -> Iterator[tuple[str, str, str]]:
    """Id, title and text of each line; a title or text that is null is empty."""
    for number, line in _lines(path):
        try:
            row = json.loads(line)
            id, title, text = row["_id"], *("" if part is None else part for part in (row.get("title"), row["text"]))
            if isinstance(id, bool) or not isinstance(id, str | int) or id == "":
                raise ValueError(f"the id {id!r} is no string")
            if not (isinstance(title, str) and isinstance(text, str)):
                raise ValueError("title and text must be strings")
            f"{id}{title}{text}".encode()  # half of a surrogate pair is no text
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise UserError(f"{path}, line {number}: not an object with _id and text ({error})") from None
        yield str(id), title, text


def _judgements(path: Path) -> Iterator[tuple[str, str, int]]:
    """Query, document and score, with or without a header; also in TREC's four columns, by tabs or blanks."""
    for number, line in _lines(path):
        fields = line.split("\t") if "\t" in line else line.split()
        if number == 1 and fields[-1].strip().lower() in HEADS:
            continue
        try:
            query, document, score = fields if len(fields) == 3 else (fields[0], *fields[2:])
            if not (float(score).is_integer() and abs(float(score)) < GRADE):
                raise ValueError(f"the score {score} is no whole number of less than ten digits")
        except (ValueError, IndexError) as error:
            raise UserError(f"{path}, line {number}: expected query, document and score by tabs ({error})") from None
        yield query, document, int(float(score))


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines that are not blank, numbered from 1, of `path` or of the same with .gz.

    Ends of lines may be those of Windows, and the file may begin with a byte-order mark.
    """
    found = [file for file in (path, gzipped(path)) if file.exists()]
    if len(found) != 1:
        raise UserError(
            f"there is {'both' if found else 'neither'} {path} {'and' if found else 'nor'} {gzipped(path).name}; a BEIR "
            "folder holds corpus.jsonl, queries.jsonl and qrels/, each file plain or gzipped"
        )
    number = 0
    try:
        with gzip.open(found[0]) if found[0].suffix == ".gz" else found[0].open("rb") as file:
            while line := file.readline(LINE + 1):
                number += 1
                if len(line) > LINE:
                    raise UserError(
                        f"{found[0]}, line {number}: longer than {LINE} bytes; are its lines ended otherwise, or is it "
                        "one JSON array? It must hold one object a line"
                    )
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
                if text.strip():
                    yield number, text.rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{found[0]}, line {number}: not UTF-8, byte {error.object[error.start]:#04x} at {error.start}; convert it, "
            "for example by `iconv -f latin1 -t utf-8`"
        ) from None
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"cannot read {found[0]} beyond line {number}: {error}; is it whole?") from None


def gzipped(path: Path) -> Path:
    return path.with_name(f"{path.name}.gz")

"""A collection from a folder in the BEIR layout, taken as it is: ids and duplicates are part of the benchmark."""

import gzip
import json
import math
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd

from retscale.errors import UserError
from retscale.task.collection import Collection, judged
from retscale.task.config import FolderSource
from retscale.task.qrels import judgements

LINE = 2**26  # bytes; a longer line is no document but a file without line ends

# Title and text of an object, and in words what of them a reader may want to know.
Parts = tuple[str, str, list[str]]


def collect(source: FolderSource) -> Collection:
    """The queries with a judgement in `source.split`; UserError names the first unreadable line."""
    folder = source.folder()
    qrels = folder / "qrels" / f"{source.split}.tsv"
    if not (qrels.exists() or gzipped(qrels).exists()):
        there = {path.name.removesuffix(".gz").removesuffix(".tsv") for path in qrels.parent.glob("*")}
        raise UserError(f"there is no {qrels}, nor with .gz; splits there: {', '.join(sorted(there)) or 'none'}")
    assumed: Counter[str] = Counter()
    queries = [(id, text) for id, _, text in _texts(folder / "queries.jsonl", _query, assumed)]
    return judged(
        str(qrels),
        queries=pd.DataFrame(queries, columns=["query_id", "text"], dtype="str"),
        corpus=pd.DataFrame(
            _texts(folder / "corpus.jsonl", _document, assumed), columns=["doc_id", "title", "text"], dtype="str"
        ),
        qrels=pd.DataFrame(judgements(_lines(qrels), qrels, assumed), columns=["query_id", "doc_id", "score"]),
        assumed=assumed,
    )


def _texts(
    path: Path, parts: Callable[[dict], Parts], assumed: Counter[str]
) -> Iterator[tuple[str, str, str]]:
    """Id, title and text of each line; `assumed` counts what `parts` and the id took for what it is not called."""
    for number, line in _lines(path):
        try:
            row = json.loads(line)
            title, text, said = parts(row)
            if "_id" in row:
                id = row["_id"]
            else:
                id, said = row["id"], [*said, "`id` read as `_id`"]
            if isinstance(id, bool) or not isinstance(id, str | int) or id == "":
                raise ValueError(f"the id {id!r} is no string")
            if not (isinstance(title, str) and isinstance(text, str)):
                raise ValueError("title and text must be strings")
            f"{id}{title}{text}".encode()  # half of a surrogate pair is no text
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            lacks = f"no {error} among {', '.join(row)}" if isinstance(error, KeyError) else error
            raise UserError(f"{path}, line {number}: not an object with _id and text ({lacks})") from None
        if said:
            assumed.update(f"{path.name}: {what}" for what in said)
        yield str(id), title, text


def _document(row: dict) -> Parts:
    """Title and text; either is empty that is null, and may be missing beside the other."""
    title, said = row.get("title"), []
    if isinstance(title, int | float) and not isinstance(title, bool) and math.isfinite(title):
        title, said = str(title), ["title that is a number"]
    if title and "text" not in row:
        others = row.keys() - {"_id", "id", "title"}
        if not any(isinstance(row[key], str) for key in others):  # such a string may be the text
            return title, "", [*said, "title without text"]
    return _or_empty(title), _or_empty(row["text"]), said


def _query(row: dict) -> Parts:
    if "text" not in row and "query" in row:
        return "", _or_empty(row["query"]), ["`query` read as `text`"]
    return "", _or_empty(row["text"]), []


def _or_empty(part):
    return "" if part is None else part


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

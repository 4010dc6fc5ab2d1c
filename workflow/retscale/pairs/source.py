"""Rows of a pairs source: (query, positive passage, further passages), and of a collection: passages."""

import fnmatch
import gzip
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow.parquet

from retscale.errors import UserError
from retscale.pairs.config import Fields, File, HubFiles, Text
from retscale.text.wheel import WheelSource, rows


def open_rows(source: WheelSource | File | HubFiles) -> tuple[Iterator[dict], str | None]:
    """The rows of a source, in its order, and the commit they are of; None where there is none.

    Only the hub needs the network, here and not while the rows are read.
    """
    if isinstance(source, WheelSource):
        return rows(source), None
    if isinstance(source, File):
        return read_file(source.file()), None
    from retscale.hub.snapshot import snapshot

    found = snapshot(source.repo, source.revision, lambda names: _named(source, names), kind="dataset")
    return (row for name in _named(source, found.sha256) for row in read_file(found.folder / name)), found.commit


def triples(source: Iterable[dict], fields: Fields) -> Iterator[tuple[str, str, list[str]]]:
    """(query, positive, negatives) for each positive of each row; UserError if a row lacks a field."""
    for number, row in enumerate(source, 1):
        _need(row, number, fields.query, fields.passage)
        if not isinstance(row[fields.query], str | None):
            raise UserError(
                f"row {number} of the pairs: {fields.query!r} holds {row[fields.query]!r}, which is no text"
            )
        further = []
        if fields.negatives:
            named = fnmatch.filter(row, fields.negatives)
            if not named:
                _need(row, number, fields.negatives)
            further = [text for name in named for text in texts(row[name])]
        for positive in texts(row[fields.passage]) or [""]:
            yield row[fields.query] or "", positive, further


def passages_in(source: Iterable[dict], fields: Text) -> Iterator[str]:
    """The passage of each row; UserError if a row lacks the field."""
    for number, row in enumerate(source, 1):
        _need(row, number, fields.text)
        yield from texts(row[fields.text])


def texts(value: str | dict | list | None) -> list[str]:
    """The texts of a field that holds one, several or none; a title stands before its text."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict) and isinstance(value.get("text"), str):
        return [" ".join(part for part in ((value.get("title") or "").strip(), value["text"].strip()) if part)]
    if not isinstance(value, list | None):
        raise UserError(
            f"a field of texts holds {value!r}; name a field with a text, {{title, text}} or a list of such"
        )
    return [text for part in value or [] for text in texts(part)]


def _need(row: dict, number: int, *fields: str) -> None:
    for field in fields:
        if field not in row:
            raise UserError(f"row {number} of the pairs has no field {field!r}; it has {', '.join(map(repr, row))}")


def _named(source: HubFiles, names: Iterable[str]) -> list[str]:
    """Those of `names` that the source means, in its order; UserError if one of its patterns fits none."""
    found = []
    for pattern in source.files:
        fitting = sorted(fnmatch.filter(names, pattern))
        if not fitting:
            raise UserError(f"the data set {source.repo} at {source.revision} has no file {pattern!r}")
        found += [name for name in fitting if name not in found]
    return found


def read_file(path: Path, what: str = "pairs") -> Iterator[dict]:
    """The rows of a parquet or jsonl file; UserError, which calls them `what`, if it cannot be read."""
    kind = "".join(path.suffixes[-2:] if path.suffix == ".gz" else path.suffixes[-1:])
    number = 0
    try:
        if kind == ".parquet":
            for batch in pyarrow.parquet.ParquetFile(path).iter_batches():
                yield from batch.to_pylist()
        elif kind in (".jsonl", ".jsonl.gz"):
            with (gzip.open if kind.endswith(".gz") else open)(path, "rb") as lines:
                for number, line in enumerate(lines, 1):
                    text = line.decode("utf-8-sig" if number == 1 else "utf-8")
                    if text.strip():
                        yield _row(text)
        else:
            raise UserError(f"cannot read {what} from {path}: give a .parquet, .jsonl or .jsonl.gz file")
    except (OSError, EOFError, ValueError, RecursionError) as error:  # pyarrow's errors derive from these
        line = f", line {number + isinstance(error, EOFError)}" if number else ""
        raise UserError(f"cannot read {what} from {path}{line}: {error}") from None


def _row(line: str) -> dict:
    """The object in a line; ValueError if there is none, or half of a surrogate pair, which is no text, in it."""
    row = json.loads(line)
    if not isinstance(row, dict):
        raise ValueError("not an object")
    if "\\ud" in line.lower():
        json.dumps(row, ensure_ascii=False).encode()
    return row

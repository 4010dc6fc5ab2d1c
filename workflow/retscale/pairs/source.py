"""Rows of a pairs source: (query, positive passage, further passages), and of a collection: passages."""

import fnmatch
import reprlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from retscale.common import jsonl, parquet
from retscale.common.wheel import WheelSource, rows
from retscale.errors import UserError
from retscale.pairs.config import FORMATS, Fields, File, HubFiles, Text


def open_rows(source: WheelSource | File | HubFiles) -> tuple[Iterator[dict], str | None]:
    """The rows of a source, in its order, and their commit, or None if it has none.

    Only the hub needs the network, and only here, not while the rows are read.
    """
    if isinstance(source, WheelSource):
        return rows(source), None
    if isinstance(source, File):
        return read_file(source.file()), None
    from retscale.hub.snapshot import snapshot

    download = snapshot(source.repo, source.revision, lambda names: _matching(source, names), kind="dataset")
    return (
        row for name in _matching(source, download.sha256) for row in read_file(download.folder / name)
    ), download.commit


def triples(source: Iterable[dict], fields: Fields) -> Iterator[tuple[str, str, list[str]]]:
    """(query, positive, negatives) for each positive of each row; UserError if a row lacks a field."""
    for number, row in enumerate(source, 1):
        _require(row, number, fields.query, fields.passage)
        if not isinstance(row[fields.query], str | None):
            raise UserError(
                f"row {number} of the pairs: {fields.query!r} holds {reprlib.repr(row[fields.query])}, which is not text"
            )
        title = _title(row, number, fields)
        negatives = []
        if fields.negatives:
            names = fnmatch.filter(row, fields.negatives)
            if not names:
                _require(row, number, fields.negatives)
            negatives = [text for name in names for text in texts(row[name])]
        for positive in texts(row[fields.passage]) or [""]:
            yield row[fields.query] or "", titled(title, positive), [titled(title, text) for text in negatives]


def titled(title: str, passage: str) -> str:
    """A passage after its title; an empty one stays empty."""
    return f"{title} {passage.strip()}" if title and passage.strip() else passage


def _title(row: dict, number: int, fields: Fields) -> str:
    if fields.title is None:
        return ""
    _require(row, number, fields.title)
    return str(row[fields.title] or "").strip()


def passages_in(source: Iterable[dict], fields: Text) -> Iterator[str]:
    """The passage of each row; UserError if a row lacks the field."""
    for number, row in enumerate(source, 1):
        _require(row, number, fields.text)
        yield from texts(row[fields.text])


def texts(value: str | dict | list | None) -> list[str]:
    """The texts of a field that holds one, several or none; a title precedes its text."""
    # `parts` is a stack of what is still to be read: lists may be nested deeper than Python's recursion limit.
    parts, result = [value], []
    while parts:
        part = parts.pop()
        if isinstance(part, str):
            result.append(part)
        elif isinstance(part, dict) and isinstance(part.get("text"), str) and isinstance(part.get("title"), str | None):
            result.append(" ".join(p for p in ((part.get("title") or "").strip(), part["text"].strip()) if p))
        elif isinstance(part, list | None):
            parts += reversed(part or [])
        else:
            raise UserError(
                f"a field of texts holds {reprlib.repr(part)}; name a field with a text, {{title, text}}, or a list of "
                "these"
            )
    return result


def _require(row: dict, number: int, *fields: str) -> None:
    for field in fields:
        if field not in row:
            raise UserError(f"row {number} of the pairs has no field {field!r}; it has {', '.join(map(repr, row))}")


def _matching(source: HubFiles, names: Iterable[str]) -> list[str]:
    """The `names` that the source selects, in its order; raises UserError if one of its patterns matches none."""
    selected = []
    for pattern in source.files:
        matches = sorted(fnmatch.filter(names, pattern))
        if not matches:
            raise UserError(f"the data set {source.repo} at {source.revision} has no file {pattern!r}")
        selected += [name for name in matches if name not in selected]
    return selected


def read_file(path: Path) -> Iterator[dict]:
    """The rows of a parquet or jsonl file; UserError if it cannot be read."""
    if not path.name.endswith(FORMATS):
        raise UserError(f"cannot read pairs from {path}: the file name must end with one of {', '.join(FORMATS)}")
    if path.suffix != ".parquet":
        yield from (row for _, row in jsonl.objects(path))
        return
    try:
        for batch in parquet.batches(path):
            yield from batch.to_pylist()
    except (ValueError, OverflowError) as error:  # a text that is not UTF-8, a date that Python does not have
        raise UserError(f"cannot read pairs from {path}: {error}") from None

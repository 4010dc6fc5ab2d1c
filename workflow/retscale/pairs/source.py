"""Rows of a pairs source: (query, positive passage, further passages)."""

import fnmatch
import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet

from retscale.errors import UserError
from retscale.pairs.config import FilePairs, HubPairs, WheelPairs
from retscale.text.wheel import rows


def read(source: WheelPairs | FilePairs | HubPairs) -> Iterator[tuple[str, str, list[str]]]:
    """(query, passage, negatives) a row, in the source's order; UserError if it cannot be read or lacks a field."""
    for number, row in enumerate(_rows(source), 1):
        for field in filter(None, (source.query, source.passage, source.negatives)):
            if field not in row:
                raise UserError(f"row {number} of the pairs has no field {field!r}; it has {', '.join(map(repr, row))}")
        yield (
            row[source.query] or "",
            row[source.passage] or "",
            texts(row[source.negatives] if source.negatives else []),
        )


def resolve(source: WheelPairs | FilePairs | HubPairs) -> tuple[WheelPairs | FilePairs | HubPairs, str | None]:
    """The source with its revision resolved to a commit, and that commit; None for what has no revision."""
    if not isinstance(source, HubPairs):
        return source, None
    from huggingface_hub import HfApi

    try:
        commit = HfApi().dataset_info(source.repo, revision=source.revision).sha
    except (OSError, ValueError) as error:  # what the hub's client raises, network errors included
        where = f"the data set {source.repo} at {source.revision}"
        raise UserError(f"cannot reach {where}: {error}; check its name, the revision and the network") from None
    return source.model_copy(update={"revision": commit}), commit


def texts(value: str | list[str] | None) -> list[str]:
    """The texts of a field that holds one, several or none."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list | None):
        raise UserError(f"a field of texts holds {value!r}; name a field with a text or a list of texts")
    return list(value or [])


def _rows(source: WheelPairs | FilePairs | HubPairs) -> Iterator[dict]:
    if isinstance(source, WheelPairs):
        return rows(source)
    if isinstance(source, FilePairs):
        return _file(Path(source.path))
    return (row for path in _download(source) for row in _file(path))


def _download(source: HubPairs) -> Iterator[Path]:
    from huggingface_hub import HfApi

    at = {"repo_id": source.repo, "repo_type": "dataset", "revision": source.revision}
    where = f"the data set {source.repo} at {source.revision}"
    try:
        known = sorted(HfApi().list_repo_files(**at))
        for pattern in source.files:
            names = [name for name in known if fnmatch.fnmatchcase(name, pattern)]
            if not names:
                raise UserError(f"{where} has no file {pattern!r}")
            yield from (Path(HfApi().hf_hub_download(filename=name, **at)) for name in names)
    except (OSError, ValueError) as error:  # what the hub's client raises, network errors included
        raise UserError(f"cannot fetch {where}: {error}; check its name, the revision and the network") from None


def _file(path: Path) -> Iterator[dict]:
    try:
        if path.suffix == ".parquet":
            for batch in pyarrow.parquet.ParquetFile(path).iter_batches():
                yield from batch.to_pylist()
        elif path.suffix == ".jsonl":
            with path.open(encoding="utf-8") as lines:
                yield from (json.loads(line) for line in lines if line.strip())
        else:
            raise UserError(f"cannot read pairs from {path}: give a .parquet or .jsonl file")
    except (OSError, ValueError) as error:  # pyarrow's errors derive from these two
        raise UserError(f"cannot read pairs from {path}: {error}") from None

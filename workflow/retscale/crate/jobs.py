"""The jobs behind a result: their records, and the files that these name, by their places in the study."""

import posixpath
from collections import deque
from pathlib import Path

from retscale.errors import UserError
from retscale.provenance import record
from retscale.provenance.schema import OlderRecord, Record

AnyRecord = Record | OlderRecord
SUFFIX = ".record.json"


def behind(primary: Path) -> dict[str, AnyRecord]:
    """The record of `primary` and all in its folder that it leads to, by their paths from there, sorted.

    UserError if one is missing or damaged. What another study has made is a file from outside.
    """
    folder, records = primary.parent, {}
    queue = deque([record.path_of(primary).name])
    while queue:
        path = queue.popleft()
        if path in records:
            continue
        if not (folder / path).is_file():
            raise UserError(f"{folder / path}, a provenance record that others name, is missing; run the study again")
        records[path] = record.parse(folder / path)
        makers = [place(path, row["record"]) for row in records[path]["inputs"] if row["record"]]
        queue += [maker for maker in makers if maker is not None]
    return dict(sorted(records.items()))


def name(path: str) -> str:
    """What the job of the record at `path` is called: the place of its result without a suffix."""
    return path.removesuffix(SUFFIX)


def place(record_path: str, name: str) -> str | None:
    """Where the file lies that the record calls `name`, as a path in the study; None: outside."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(record_path), name))
    return None if posixpath.isabs(path) or path.split("/")[0] == ".." else path


def outputs(path: str, content: AnyRecord) -> dict[str, dict]:
    """The files that the job of a record made, by their places. UserError if one is not in the study."""
    files = {}
    for row in content["outputs"]:
        file = place(path, row["path"])
        if file is None:
            raise UserError(f"{path} lists {row['path']}, which no job can have made; run the study again")
        files[file] = dict(row)
    return files

"""The texts of held-out tests, wherever they are stored."""

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq

from retscale.common import jsonl
from retscale.common.wheel import rows
from retscale.errors import UserError
from retscale.pairs.config import Excluded, HeldOut
from retscale.pairs.source import texts


def read(excluded: list[Excluded], tests: dict[str, HeldOut], files: list[Path]) -> dict[str, list[str]]:
    """The texts of each test; a test in a wheel comes in parts, one per field.

    `files` are task.json and items.json of tests that a job has read, each in a folder of the test's name. UserError if
    a test has no text, for then nothing of it would be held out.
    """
    by_test: dict[str, list[str]] = {}
    for part in excluded:
        by_test.setdefault(part.name, []).extend(of_wheel(part))
    fetched = {path.parent.name: path for path in files}
    for name, test in tests.items():
        if test.source is None and name not in fetched:
            raise UserError(f"held_out: {name} must be read first; give its task.json or items.json with --tests")
        by_test[name] = list(of_items(name, test, fetched.get(name)) if test.fields else of_task(fetched[name]))
    for name, test_texts in by_test.items():
        if not any(text.strip() for text in test_texts):
            raise UserError(f"held_out: {name} has no text to leave out of training; check its source")
    return by_test


def of_wheel(part: Excluded) -> Iterator[str]:
    strip = re.compile(part.strip) if part.strip else None
    for row in rows(part):
        if part.field not in row:
            raise UserError(f"exclude: a row of {part.name} has no field {part.field!r}; it has {', '.join(row)}")
        for text in texts(row[part.field]):
            yield strip.sub("", text).strip() if strip else text


def of_task(task: Path) -> Iterator[str]:
    """Queries and judged documents of a retrieval task, the latter with their titles and without.

    Not its whole corpus: that of MS MARCO contains the very passages to train on, and an unjudged passage is not an
    answer to a test. It also bounds the memory of the search for copies, about 200 bytes per word.
    """
    yield from pd.read_parquet(task.with_name("queries.parquet"), columns=["text"])["text"]
    judged = pq.read_table(task.with_name("qrels.parquet"), columns=["doc_id"])["doc_id"].unique()
    corpus = task.with_name("corpus.parquet")
    for row in pq.read_table(corpus, columns=["title", "text"], filters=pc.field("doc_id").isin(judged)).to_pylist():
        yield row["text"]
        if row["title"]:
            yield from texts(row)


def of_items(name: str, test: HeldOut, fetched: Path | None) -> Iterator[str]:
    """The fields of every item of an in-context task, without its answers."""
    path = fetched.with_name("items.jsonl") if test.source is None else test.source.find()
    if path is None:
        raise UserError(
            f"held_out: the file {test.source.file} of {name} is missing below {test.source.folder}; correct `folder`"
        )
    for number, (_, row) in enumerate(jsonl.objects(path), 1):
        for field in test.fields:
            if field not in row:
                raise UserError(f"held_out: item {number} of {path} has no field {field!r}; it has {', '.join(row)}")
            yield from texts(row[field])

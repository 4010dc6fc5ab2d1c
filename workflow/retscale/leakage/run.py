"""The stage `leakage`: TASK.json, how many texts of a task occur in the training data, and TASK.parquet, which ones.

Measured on the training data as they are, after texts of held-out tests were left out, and for every task of the study.
It is a stage of its own, since what is trained must not depend on which tasks are evaluated.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from retscale.common import copies
from retscale.common.progress import progress
from retscale.leakage.config import Spec
from retscale.leakage.fingerprints import CHUNK, RUN, Fingerprints, Numbers, among, fingerprints, runs
from retscale.leakage.result import Leakage
from retscale.pairs.card import PairsCard
from retscale.task.card import TaskCard
from retscale.task.inputs import by_task

PARTS = {"queries": ("query_id", "text"), "documents": ("doc_id", "title", "text")}  # of a task
FILES = {"queries": "queries.parquet", "documents": "corpus.parquet"}
SCHEMA = pa.schema(
    [
        ("pairs", "string"),
        ("training", "string"),
        ("part", "string"),
        ("id", "string"),
        ("exact", "bool"),
        ("run", "bool"),
    ]
)


def run(values: dict, inputs: dict, out: Path) -> Iterator[str]:
    """Compare each task of `spec` with all training data, yielding its name when its files are written."""
    numbers = Numbers()
    training = {key: fingerprints(texts, numbers) for path in inputs["pairs"] for key, texts in read_training(path)}
    numbers.closed = True
    for name, path in by_task(Spec.model_validate(values).tasks, inputs["tasks"]):
        card = TaskCard.read(path)
        texts = {"queries": card.queries, "documents": card.documents}
        counts, tables = {}, []
        for part in PARTS:
            batches = progress(chunks(path, part), f"{name}: {part}", unit="chunks")
            for (pairs, side), table in overlap(batches, training, numbers).items():
                row = counts.setdefault(
                    (part, pairs), {"part": part, "texts": texts[part], "pairs": pairs, "exact": {}, "run": {}}
                )
                row["exact"][side], row["run"][side] = int(table["exact"].sum()), int(table["run"].sum())
                tables.append(table.assign(pairs=pairs, training=side, part=part))
        pq.write_table(pa.Table.from_pandas(pd.concat(tables), SCHEMA, preserve_index=False), out / f"{name}.parquet")
        result = {"task": name, "words": RUN, "overlap": list(counts.values())}
        Leakage.write(out / f"{name}.json", result)
        yield name


def overlap(
    batches: Iterator[tuple[list[str], list[str], list[str]]], training: dict[tuple, Fingerprints], numbers: Numbers
) -> dict[tuple, pd.DataFrame]:
    """For each side of each training data set the texts found in it: id, whether `exact`, and whether by a `run` of words.

    `batches` are chunks of ids, texts, and the same texts after their titles.
    """
    tables = {source: [] for source in training}
    for ids, texts, titled in batches:
        plain, with_titles, (hashes, rows) = (
            copies.fingerprints(texts),
            copies.fingerprints(titled),
            runs(titled, numbers),
        )
        for source, known in training.items():
            exact = among(plain, known.exact) | among(with_titles, known.exact)
            sharing = np.zeros(len(ids), bool)
            sharing[rows[among(hashes, known.runs)]] = True
            matched = exact | sharing
            tables[source].append(
                pd.DataFrame({"id": np.array(ids, object)[matched], "exact": exact[matched], "run": sharing[matched]})
            )
    return {source: pd.concat(parts) for source, parts in tables.items()}


def read_training(path: Path) -> Iterator[tuple[tuple[str, str], list[str]]]:
    """((data set, side), texts) of the training data set whose pairs.json is `path`."""
    id = PairsCard.read(path).id
    pairs = pd.read_parquet(path.parent / "pairs.parquet")
    yield (id, "queries"), pairs["query"].drop_duplicates().tolist()
    positives = pairs[["passage_id"]].drop_duplicates()
    yield (id, "positives"), positives.merge(pd.read_parquet(path.parent / "passages.parquet"))["text"].tolist()


def chunks(path: Path, part: str) -> Iterator[tuple[list[str], list[str], list[str]]]:
    """Ids, texts, and texts after their titles, of a task's queries or documents, CHUNK at a time."""
    for batch in pq.ParquetFile(path.parent / FILES[part]).iter_batches(CHUNK, columns=list(PARTS[part])):
        ids, *titles, texts = (column.to_pylist() for column in batch.columns)
        yield ids, texts, [f"{title} {text}".strip() for title, text in zip(*titles, texts)] if titles else texts

"""A cut of a task: the task's queries and judgments with a part of its corpus."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from retscale.common import parquet
from retscale.encoder.config import GIVEN
from retscale.errors import UserError
from retscale.evaluate.result import Result
from retscale.mine.bm25 import Index
from retscale.mine.config import MineConfig
from retscale.task.card import TaskCard
from retscale.task.collection import Collection
from retscale.task.config import CutSource

Chosen = Iterator[tuple[str, np.ndarray]]  # a part of the pool: its name, and rows of documents


def cut(id: str, source: CutSource, seed: int, whole: Path, runs: list[Path]) -> Collection:
    """The task whose task.json is `whole`, with only the documents of the pool, in their order.

    `runs`: the evaluation of `whole` by each of the pool's encoders (TASK.json with TASK.parquet beside it). Raises
    UserError, which names the cut by its `id`, if a run is of another task or encoder, or if the pool is not a proper part
    of the corpus.
    """
    collection = read(whole, id, source.of)
    count = len(collection.corpus)
    if flaw := source.too_large(count):
        raise UserError(f"task {id!r}: {flaw}")
    first = np.full(count, "", object)
    for by, rows in chosen(collection, source, seed, runs):
        first[rows[first[rows] == ""]] = by
    keep = first != ""
    if keep.all():
        raise UserError(
            f"task {id!r}: the pool holds all {count:,} documents of {source.of}; lower its numbers, or evaluate {source.of}"
        )
    by, counts = np.unique(first[keep].astype(str), return_counts=True)
    return replace(
        collection,
        corpus=collection.corpus[keep].reset_index(drop=True),
        dropped={f"document of {source.of} outside the pool": int((~keep).sum())},
        pool=dict(zip(by.tolist(), counts.tolist(), strict=True)),
    )


def read(whole: Path, id: str, of: str) -> Collection:
    """The whole task `of`, as its job wrote it; UserError if it is another task, or has no corpus to cut."""
    card = TaskCard.read(whole)
    if card.id != of:
        raise UserError(f"--whole: {whole} is of the task {card.id!r}, but the spec cuts {of!r}")
    if card.judged_only:
        raise UserError(
            f"task {id!r}: {of} ranks only the documents judged for a query, so it has no corpus to cut; remove the cut"
        )
    tables = {name: pd.read_parquet(whole.parent / f"{name}.parquet") for name in card.sha256}
    return Collection(**tables, ignore_identical_ids=card.ignore_identical_ids, instruction_metric=card.follows)


def chosen(collection: Collection, source: CutSource, seed: int, runs: list[Path]) -> Chosen:
    """The parts of the pool. The random part comes last and excludes the others."""
    documents, qrels = pd.Index(collection.corpus["doc_id"]), collection.qrels
    counted = qrels if source.judged == "all" else qrels[qrels["score"] > 0]
    judged = documents.get_indexer(counted["doc_id"].unique())
    parts = [("judged", judged[judged >= 0]), *by_encoders(source, documents, runs)]
    if source.bm25:
        parts.insert(1, ("bm25", by_bm25(collection, documents, source.bm25)))
    yield from parts
    order = np.random.default_rng(seed).permutation(len(documents))
    yield "random", order[~np.isin(order, np.concatenate([rows for _, rows in parts]))][: source.random]


def by_bm25(collection: Collection, documents: pd.Index, depth: int) -> np.ndarray:
    """The first `depth` documents of each query, by BM25 with the default settings of `mine`."""
    corpus, queries = collection.corpus, collection.queries
    texts = [f"{title} {text}".strip() for title, text in zip(corpus["title"], corpus["text"], strict=True)]
    own = documents.get_indexer(queries["query_id"]) if collection.ignore_identical_ids else np.full(len(queries), -1)
    excluded = [np.array([row] if row >= 0 else [], np.int32) for row in own]
    ranked = Index(texts, MineConfig()).top(queries["text"].tolist(), excluded, depth)
    return np.unique(np.concatenate([rows for rows, _ in ranked]))


def by_encoders(source: CutSource, documents: pd.Index, runs: list[Path]) -> Chosen:
    """The first documents of each query in the stored ranking of each encoder; UserError if a run does not fit."""
    paths = {}
    for path in runs:
        result = Result.read(path)
        if result.recipe != GIVEN or result.checkpoint not in source.encoders or result.task != source.of:
            raise UserError(
                f"--runs: {path} is of {result.checkpoint} / {result.recipe} on {result.task}, which the pool does not name"
            )
        if result.k < source.depth:
            raise UserError(f"--runs: {path} ranks {result.k} documents, fewer than the pool's depth of {source.depth}")
        paths[result.checkpoint] = path
    if missing := [name for name in source.encoders if name not in paths]:
        raise UserError(f"--runs: there is none of {', '.join(missing)}, which the pool names")
    for name, path in sorted(paths.items()):
        rankings = parquet.read(path.with_suffix(".parquet"), {"doc_ids": "texts"})["doc_ids"]
        ids = np.unique(np.concatenate([np.asarray(ids[: source.depth], object) for ids in rankings]).astype(str))
        rows = documents.get_indexer(ids)
        if rows.min() < 0:
            raise UserError(
                f"{path.with_suffix('.parquet')} ranks {ids[rows.argmin()]!r}, which {source.of} does not have"
            )
        yield name, rows

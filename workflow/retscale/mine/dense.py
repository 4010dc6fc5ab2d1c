"""The nearest passages of each query by an encoder, computed while the vectors stream by."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from retscale.evaluate import search
from retscale.evaluate.documents import Documents
from retscale.evaluate.vectors import cut, shards, shards_ahead
from retscale.model.device import device
from retscale.model.encoder import Encoder
from retscale.tokens.file import TEXTS_AT_A_TIME, Tokens, write


def nearest(
    encoder: Encoder,
    passages: pd.DataFrame,
    queries: pd.Series,
    positives: list[np.ndarray],
    excluded: list[np.ndarray],
    top: int,
    folder: Path,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row numbers (queries, at most top) and cosines of the best passages, best first, ties by lower number; and the
    lowest cosine of each query's positives.

    By the search of the stage `evaluate`, on the device of the encoder. Those in `excluded[query]` are left out; where
    there are too few passages rows are -1 and scores -inf. The tokens of all passages are kept in `folder` meanwhile.
    Memory: a shard of vectors, and queries x top.
    """
    query_vectors = encoder.embed(encoder.tokens(queries.tolist(), "query"), "mine: queries")
    search.check_finite(query_vectors, queries.index, "query")
    ids, texts = passages["passage_id"].to_numpy(object), passages["text"]
    lowest = np.full(len(queries), np.inf, np.float32)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        store = tokenized(encoder, texts, Path(scratch) / "ids")
        query, row = _pairs(positives)
        order = np.argsort(store.number[row], kind="stable")
        query, vector = query[order], store.number[row][order]

        def embed(rows: slice, replica: int) -> np.ndarray:
            return encoder.embed(store[rows], f"mine: passages {rows.start + 1} to {rows.stop}", replica)

        def seen(shards: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
            """The shards, of whose vectors `lowest` takes note."""
            for rows, vectors in zip(cut(len(store)), shards, strict=True):
                in_shard = slice(*np.searchsorted(vector, [rows.start, rows.stop]))
                pairs = query[in_shard], vector[in_shard] - rows.start
                np.minimum.at(lowest, pairs[0], search.cosines(query_vectors, vectors, *pairs, device=where))
                yield vectors

        where, replicas = device(), len(encoder.models)
        documents = Documents.make(ids, store.number, place=np.arange(len(ids), dtype=np.int32))
        with contextlib.closing(shards(len(store), embed, replicas, shards_ahead(where, replicas))) as held:
            best = search.top_k(query_vectors, seen(held), documents, top, exclude=_pairs(excluded), device=where)
    return *best, lowest


def tokenized(encoder: Encoder, texts: pd.Series, path: Path) -> Tokens:
    """The tokens of passages, kept in the file `path`."""
    batches = (texts.iloc[i : i + TEXTS_AT_A_TIME].tolist() for i in range(0, len(texts), TEXTS_AT_A_TIME))
    return write(path, (encoder.tokens(batch, "passage") for batch in batches))


def _pairs(rows: list[np.ndarray]) -> search.Pairs:
    """Parallel numbers of query and row."""
    return np.repeat(np.arange(len(rows)), [len(of_query) for of_query in rows]), np.concatenate(rows)

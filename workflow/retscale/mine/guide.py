"""Ranked passages rescored by an encoder, the guide, since some of them may answer the query as well."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from retscale.evaluate import search
from retscale.evaluate.vectors import cut
from retscale.mine.dense import tokenized
from retscale.mine.rank import Ranking
from retscale.model.device import device
from retscale.model.encoder import Encoder


def guided(encoder: Encoder, folder: Path) -> Callable[[Ranking, pd.DataFrame, pd.Series, list[np.ndarray]], Ranking]:
    """Puts the cosines of an encoder's vectors in place of what a ranking's margin compares."""

    def guide(ranking: Ranking, passages: pd.DataFrame, queries: pd.Series, positives: list[np.ndarray]) -> Ranking:
        ranking = list(ranking)
        rows = [
            np.concatenate([positive_rows, ranked.rows])
            for positive_rows, ranked in zip(positives, ranking, strict=True)
        ]
        scores = pair_scores(encoder, passages, queries, rows, folder)
        for ranked, positive_rows, cosines in zip(ranking, positives, scores, strict=True):
            yield ranked._replace(
                margin_scores=cosines[len(positive_rows) :], positive_score=float(cosines[: len(positive_rows)].min())
            )

    return guide


def pair_scores(
    encoder: Encoder, passages: pd.DataFrame, queries: pd.Series, rows: list[np.ndarray], folder: Path
) -> list[np.ndarray]:
    """The cosine (float32) of each query with each of its `rows` of the passages.

    The tokens of these passages are kept in `folder` meanwhile. Memory: a shard of vectors, and 32 bytes per pair.
    """
    query_vectors = encoder.embed(encoder.tokens(queries.tolist(), "query"), "mine: queries, by the guide")
    search.check_finite(query_vectors, queries.index, "query")
    unique_rows, row = np.unique(np.concatenate(rows), return_inverse=True)
    query = np.repeat(np.arange(len(rows)), [len(of_query) for of_query in rows])
    ids, texts = passages["passage_id"].to_numpy(object)[unique_rows], passages["text"].iloc[unique_rows]
    scores = np.empty(len(row), np.float32)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        store = tokenized(encoder, texts, Path(scratch) / "ids")
        names = np.empty(len(store), object)
        names[store.number] = ids
        vector = store.number[row]
        order = np.argsort(vector, kind="stable")
        for shard in cut(len(store)):
            vectors = encoder.embed(store[shard], f"mine: passages {shard.start + 1} to {shard.stop}, by the guide")
            search.check_finite(vectors, names[shard], "passage")
            in_shard = order[slice(*np.searchsorted(vector[order], [shard.start, shard.stop]))]
            pairs = query[in_shard], vector[in_shard] - shard.start
            scores[in_shard] = search.cosines(query_vectors, vectors, *pairs, device=device())
    return np.split(scores, np.cumsum([len(of_query) for of_query in rows])[:-1])

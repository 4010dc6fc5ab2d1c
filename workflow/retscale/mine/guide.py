"""Ranked passages rescored by an encoder, the guide, since some of them may answer the query as well."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from retscale.evaluate import search
from retscale.evaluate.tokens import tokens
from retscale.evaluate.vectors import cut
from retscale.mine.dense import TEXTS_AT_A_TIME
from retscale.mine.rank import Ranking
from retscale.model.encoder import Encoder


def guided(encoder: Encoder, folder: Path) -> Callable[[Ranking, pd.DataFrame, pd.Series, list[np.ndarray]], Ranking]:
    """Puts the cosines of an encoder's vectors in place of what a ranking's margin compares."""

    def guide(ranking: Ranking, passages: pd.DataFrame, queries: pd.Series, positives: list[np.ndarray]) -> Ranking:
        ranking = list(ranking)
        rows = [np.concatenate([own, ranked.rows]) for own, ranked in zip(positives, ranking, strict=True)]
        scores = pair_scores(encoder, passages, queries, rows, folder)
        for ranked, own, found in zip(ranking, positives, scores, strict=True):
            yield ranked._replace(judged=found[len(own) :], positive=float(found[: len(own)].min()))

    return guide


def pair_scores(
    encoder: Encoder, passages: pd.DataFrame, queries: pd.Series, rows: list[np.ndarray], folder: Path
) -> list[np.ndarray]:
    """The cosine (float32) of each query with each of its `rows` of the passages.

    The tokens of these passages are kept in `folder` meanwhile. Memory: a shard of vectors, and 32 bytes per pair.
    """
    asked = encoder.embed(encoder.tokens(queries.tolist(), "query"), "mine: queries, by the guide")
    search.check_finite(asked, queries.index, "query")
    needed, row = np.unique(np.concatenate(rows), return_inverse=True)
    of = np.repeat(np.arange(len(rows)), [len(some) for some in rows])
    ids, texts = passages["passage_id"].to_numpy(object)[needed], passages["text"].iloc[needed]
    parts = (texts.iloc[i : i + TEXTS_AT_A_TIME].tolist() for i in range(0, len(texts), TEXTS_AT_A_TIME))
    scores = np.empty(len(row), np.float32)
    with tempfile.TemporaryDirectory(dir=folder) as own:
        store = tokens(Path(own) / "ids", len(texts), parts, lambda some: encoder.tokens(some, "passage"))
        names = np.empty(len(store), object)
        names[store.number] = ids
        vector = store.number[row]
        order = np.argsort(vector, kind="stable")
        for some in cut(len(store)):
            vectors = encoder.embed(store[some], f"mine: passages {some.start + 1} to {some.stop}, by the guide")
            search.check_finite(vectors, names[some], "passage")
            here = order[slice(*np.searchsorted(vector[order], [some.start, some.stop]))]
            scores[here] = search.cosines(asked, vectors, of[here], vector[here] - some.start)
    return np.split(scores, np.cumsum([len(some) for some in rows])[:-1])

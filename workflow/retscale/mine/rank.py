"""Passages ranked for each query, by each of the methods."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from retscale.errors import UserError
from retscale.mine.bm25 import Index
from retscale.mine.config import MineConfig

if TYPE_CHECKING:  # torch is imported only where an encoder mines
    from retscale.model.encoder import Encoder


class Ranked(NamedTuple):
    """A query's best passages without its positives, at most `top`, best first: row numbers and scores. And what a
    margin compares: `margin_scores`, scores of these passages, and `positive_score`, the lowest score of a positive."""

    rows: np.ndarray
    scores: np.ndarray
    margin_scores: np.ndarray
    positive_score: float


Ranking = Iterator[Ranked]
# From the passages, the queries, and for each query the rows of its positives, without and with their copies.
Rank = Callable[[pd.DataFrame, pd.Series, list[np.ndarray], list[np.ndarray], MineConfig], Ranking]


def by_bm25(
    passages: pd.DataFrame,
    queries: pd.Series,
    positives: list[np.ndarray],
    excluded: list[np.ndarray],
    config: MineConfig,
) -> Ranking:
    index, texts = Index(passages["text"], config), queries.tolist()
    for query, rows, (ranked, scores) in zip(texts, positives, index.top(texts, excluded, config.top), strict=True):
        yield Ranked(ranked, scores, scores, 0.0 if config.margin is None else float(index.scores(query, rows).min()))


def by_encoder(encoder: "Encoder", folder: Path) -> Rank:
    """By the cosine of an encoder's vectors; tokens are kept in `folder` meanwhile."""
    from retscale.mine import dense

    def rank(
        passages: pd.DataFrame,
        queries: pd.Series,
        positives: list[np.ndarray],
        excluded: list[np.ndarray],
        config: MineConfig,
    ) -> Ranking:
        nearest = dense.nearest(encoder, passages, queries, positives, excluded, config.top, folder)
        for rows, scores, positive in zip(*nearest, strict=True):
            valid = rows >= 0
            yield Ranked(rows[valid], scores[valid], scores[valid], float(positive))

    return rank


def by_given(path: Path) -> Rank:
    """In the order of the data set, without scores."""
    if not path.exists():
        raise UserError(
            f"mine: `method: given`, but the data set {path.parent.name} gives no negatives: name the field that holds "
            "them as `negatives` of its source, or choose another method"
        )
    given = pd.read_parquet(path).groupby("query_id")["passage_id"].agg(list)

    def rank(
        passages: pd.DataFrame,
        queries: pd.Series,
        positives: list[np.ndarray],
        excluded: list[np.ndarray],
        config: MineConfig,
    ) -> Ranking:
        number = pd.Index(passages["passage_id"])
        for query_id, excluded_rows in zip(queries.index, excluded, strict=True):
            ids = given.get(query_id, [])
            rows = number.get_indexer(ids)
            if len(rows) and rows.min() < 0:
                raise UserError(
                    f"mine: query {query_id}: its negative {ids[rows.argmin()]} is missing from passages.parquet"
                )
            rows = rows[~np.isin(rows, excluded_rows)][: config.top]
            zeros = np.zeros(len(rows), np.float32)
            yield Ranked(rows, zeros, zeros, 0.0)

    return rank

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
    margin compares: `judged`, scores of these passages, and `positive`, the lowest score of a positive."""

    rows: np.ndarray
    scores: np.ndarray
    judged: np.ndarray
    positive: float


Ranking = Iterator[Ranked]
# From the passages, the queries, and for each query the rows of its positives, without and with their copies.
Rank = Callable[[pd.DataFrame, pd.Series, list[np.ndarray], list[np.ndarray], MineConfig], Ranking]


def by_bm25(
    passages: pd.DataFrame,
    queries: pd.Series,
    positives: list[np.ndarray],
    spared: list[np.ndarray],
    config: MineConfig,
) -> Ranking:
    index, asked = Index(passages["text"], config), queries.tolist()
    for query, rows, (ranked, scores) in zip(asked, positives, index.top(asked, spared, config.top), strict=True):
        yield Ranked(ranked, scores, scores, 0.0 if config.margin is None else float(index.scores(query, rows).min()))


def by_encoder(encoder: "Encoder", folder: Path) -> Rank:
    """By the cosine of an encoder's vectors; tokens are kept in `folder` meanwhile."""
    from retscale.mine import dense

    def rank(
        passages: pd.DataFrame,
        queries: pd.Series,
        positives: list[np.ndarray],
        spared: list[np.ndarray],
        config: MineConfig,
    ) -> Ranking:
        found = dense.nearest(encoder, passages, queries, positives, spared, config.top, folder)
        for rows, scores, positive in zip(*found, strict=True):
            known = rows >= 0
            yield Ranked(rows[known], scores[known], scores[known], float(positive))

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
        spared: list[np.ndarray],
        config: MineConfig,
    ) -> Ranking:
        number = pd.Index(passages["passage_id"])
        for query_id, without in zip(queries.index, spared, strict=True):
            ids = given.get(query_id, [])
            rows = number.get_indexer(ids)
            if len(rows) and rows.min() < 0:
                raise UserError(
                    f"mine: query {query_id}: its negative {ids[rows.argmin()]} is missing from passages.parquet"
                )
            rows = rows[~np.isin(rows, without)][: config.top]
            none = np.zeros(len(rows), np.float32)
            yield Ranked(rows, none, none, 0.0)

    return rank

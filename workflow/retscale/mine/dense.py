"""The passages nearest to each query by an encoder, while the passages stream by."""

import numpy as np
import pandas as pd
import torch

from retscale.errors import UserError
from retscale.model.encoder import Embed

CHUNK = 2**16  # passages embedded at a time
QUERIES = 2**8  # queries compared with them at a time
SPARE = 16  # candidates beyond the best: what a matrix product's rounding may have put on the wrong side of the cut


def nearest(
    embed: Embed,
    texts: pd.Series,
    queries: list[str],
    positives: list[np.ndarray],
    spared: list[np.ndarray],
    top: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row numbers (queries, top) and scores of the best passages, best first, ties by lower number; and the lowest score
    of each query's positives.

    A score is an inner product in float32; a matrix product only selects the candidates, whose scores are computed
    again pair by pair, so no score depends on how the work is cut. Those in `spared[query]` are left out; where there
    are too few passages rows are -1 and scores -inf. Memory: a chunk of vectors, and queries x top.
    """
    asked = finite(embed(queries, "query", "mine: queries"), queries, "query")
    best = np.full((len(queries), top), -1)
    scores = np.full((len(queries), top), -np.inf, np.float32)
    positive = np.full(len(queries), np.inf, np.float32)
    taken, own = _sorted_pairs(spared), _sorted_pairs(positives)
    for start in range(0, len(texts), CHUNK):
        some = texts.iloc[start : start + CHUNK].tolist()
        vectors = finite(embed(some, "passage", f"mine: passages {start + 1} to {start + len(some)}"), some, "passage")
        of, row = _within(own, start, len(some))
        np.minimum.at(positive, of, np.einsum("pd,pd->p", asked[of], vectors[row]))
        of, row = _within(taken, start, len(some))
        for first in range(0, len(queries), QUERIES):
            block = slice(first, first + QUERIES)
            product = asked[block] @ vectors.T
            here = (of >= first) & (of < first + QUERIES)
            product[of[here] - first, row[here]] = -np.inf
            values, rows = torch.from_numpy(product).topk(min(top + SPARE, len(some)), dim=1)
            rows, none = rows.numpy(), np.isneginf(values.numpy())
            again = np.einsum("qkd,qd->qk", vectors[rows], asked[block])
            again[none] = -np.inf
            rows = np.where(none, -1, rows + start)
            best[block], scores[block] = _best(
                np.concatenate([best[block], rows], 1), np.concatenate([scores[block], again], 1), top
            )
    return best, scores, positive


def finite(vectors: np.ndarray, texts: list[str], what: str) -> np.ndarray:
    """The vectors; UserError if one is not finite: it would make no negative, and nobody would know."""
    bad = np.flatnonzero(~np.isfinite(vectors).all(1))
    if len(bad):
        raise UserError(
            f"mine: {len(bad)} of {len(texts)} embeddings are not finite, first that of the {what} {texts[bad[0]][:80]!r}; "
            "the encoder has diverged: mine with another one"
        )
    return vectors


def _best(rows: np.ndarray, scores: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
    order = np.lexsort((rows, -scores))[:, :top]
    return np.take_along_axis(rows, order, 1), np.take_along_axis(scores, order, 1)


def _sorted_pairs(rows: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Parallel numbers of query and row, by row."""
    of, row = np.repeat(np.arange(len(rows)), [len(some) for some in rows]), np.concatenate(rows)
    order = np.argsort(row, kind="stable")
    return of[order], row[order]


def _within(pairs: tuple[np.ndarray, np.ndarray], start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The pairs whose rows lie within `count` from `start`, rows counted from there."""
    first, last = np.searchsorted(pairs[1], [start, start + count])
    return pairs[0][first:last], pairs[1][first:last] - start

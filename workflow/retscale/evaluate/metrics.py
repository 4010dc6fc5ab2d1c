"""Retrieval metrics as trec_eval defines them, vectorised over queries.

All functions take `gains` (queries, k), the judged score of each ranked document in rank order: 0 where the document is
unjudged, or where the ranking is shorter than k. Each returns one float64 a query; a query without a relevant document
scores 0. A document is relevant if its score is above 0.
"""

import numpy as np


def ndcg(gains: np.ndarray, ideal: np.ndarray, k: int) -> np.ndarray:
    """nDCG@k with linear gains (trec_eval's ndcg_cut); `ideal` (queries, any) as `ideal_gains` returns it."""
    best = _dcg(ideal, k)
    return np.divide(_dcg(gains, k), best, out=np.zeros(len(gains)), where=best > 0)


def recall(gains: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
    """Share of the `relevant` (queries,) documents that is among the first k."""
    found = (gains[:, :k] > 0).sum(1)
    return np.divide(found, relevant, out=np.zeros(len(gains)), where=relevant > 0)


def mrr(gains: np.ndarray, k: int) -> np.ndarray:
    """Reciprocal rank of the first relevant document, 0 beyond rank k."""
    hits = gains[:, :k] > 0
    return np.where(hits.any(1), 1.0 / (hits.argmax(1) + 1.0), 0.0)


def ranked_gains(ranked: np.ndarray, queries: np.ndarray, documents: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Gains (queries, k) of `ranked` (queries, k), row numbers of documents with -1 for none.

    The judgements are parallel arrays: row numbers of query and document, and an integer score; at least one.
    """
    stride = max(int(ranked.max(initial=0)), int(documents.max(initial=0))) + 1
    keys = queries.astype(np.int64) * stride + documents
    order = np.argsort(keys)
    keys, scores = keys[order], scores[order]
    wanted = np.arange(len(ranked), dtype=np.int64)[:, None] * stride + ranked
    at = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
    return np.where((ranked >= 0) & (keys[at] == wanted), scores[at], 0)


def ideal_gains(n_queries: int, queries: np.ndarray, scores: np.ndarray, k: int) -> np.ndarray:
    """The k best positive scores of each query (n_queries, k), best first, padded with 0."""
    positive = scores > 0
    queries, scores = queries[positive], scores[positive]
    order = np.lexsort((-scores, queries))
    queries, scores = queries[order], scores[order]
    rank = np.arange(len(queries)) - np.searchsorted(queries, queries)
    ideal = np.zeros((n_queries, k))
    ideal[queries[rank < k], rank[rank < k]] = scores[rank < k]
    return ideal


def _dcg(gains: np.ndarray, k: int) -> np.ndarray:
    gains = np.maximum(gains[:, :k], 0)
    return gains @ (1.0 / np.log2(np.arange(2, gains.shape[1] + 2)))

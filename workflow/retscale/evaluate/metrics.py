"""Retrieval metrics as trec_eval defines them, vectorized over queries, by the names that mteb gives them.

A ranking is first reduced to the relevant documents in it, which are few; every metric is a sum over those. A document
is relevant if its judged score is above 0, or for the binary measures from a higher score on (trec_eval's -l). A query
without a relevant document scores 0.
"""

from dataclasses import dataclass, replace

import numpy as np

from retscale.evaluate.metric_names import parts

_ROWS = 64  # rankings looked up at a time, so that they stay in a core's cache
_BITS = 16
_MASK = 2**_BITS - 1
_SALT = 0x9E3779B1


@dataclass(frozen=True)
class Found:
    """Relevant documents found: parallel arrays `row` of the query, `rank` from 0 and `gain`, sorted by row and rank.

    `judged_row` and `judged_gain` are all relevant documents, best first within a query.
    """

    queries: int
    row: np.ndarray
    rank: np.ndarray
    gain: np.ndarray
    judged_row: np.ndarray
    judged_gain: np.ndarray

    def metric(self, name: str, relevant: int = 1) -> np.ndarray:
        """One float64 per query; `name` is a measure and a cut-off, such as ndcg_at_10.

        All measures but nDCG, which has gains, count a document as relevant from the judged score `relevant` on.
        """
        measure, k = parts(name)
        return MEASURES[measure](self if measure == "ndcg" else self.at_least(relevant), k)

    def at_least(self, gain: int) -> "Found":
        """Without the documents of less gain."""
        if gain <= 1:
            return self
        kept, judged = self.gain >= gain, self.judged_gain >= gain
        return replace(
            self,
            row=self.row[kept],
            rank=self.rank[kept],
            gain=self.gain[kept],
            judged_row=self.judged_row[judged],
            judged_gain=self.judged_gain[judged],
        )

    def count(self, k: int) -> np.ndarray:
        return np.bincount(self.row[self.rank < k], minlength=self.queries)


def found(ranked: np.ndarray, queries: np.ndarray, documents: np.ndarray, scores: np.ndarray) -> Found:
    """The relevant documents in `ranked` (queries, k): row numbers of documents in rank order, -1 for none.

    The judgments are parallel arrays: row numbers of query and document, and an integer score.
    """
    relevant = scores > 0
    queries, documents, scores = queries[relevant].astype(np.int64), documents[relevant], scores[relevant]
    stride = max(int(ranked.max(initial=0)), int(documents.max(initial=0))) + 1
    keys = queries * stride + documents
    order = np.argsort(keys)
    keys = keys[order]
    # Nearly every ranked document is unjudged: a table of hashes skips it, an exact look-up decides the rest.
    maybe = np.zeros(2**_BITS, bool)
    rows, ranks = [], []
    for first in range(0, len(ranked), _ROWS):
        a, b = np.searchsorted(keys, [first * stride, (first + _ROWS) * stride])
        own = (keys[a:b] % stride ^ keys[a:b] // stride * _SALT) & _MASK
        maybe[own] = True
        hashes = ranked[first : first + _ROWS] ^ np.arange(first, min(first + _ROWS, len(ranked)))[:, None] * _SALT
        hashes &= _MASK
        row, rank = np.divmod(np.flatnonzero(maybe.take(hashes, mode="clip")), ranked.shape[1])
        maybe[own] = False
        rows.append(first + row)
        ranks.append(rank)
    row, rank = (np.concatenate(part) if part else np.empty(0, np.int64) for part in (rows, ranks))
    wanted = row * stride + ranked[row, rank]
    at = np.searchsorted(keys, wanted).clip(max=max(len(keys) - 1, 0))
    real = (keys[at] == wanted) & (ranked[row, rank] >= 0)
    best_first = np.lexsort((-scores, queries))
    return Found(len(ranked), row[real], rank[real], scores[order[at[real]]], queries[best_first], scores[best_first])


def ndcg(found: Found, k: int) -> np.ndarray:
    """nDCG@k with linear gains (trec_eval's ndcg_cut)."""
    best = _dcg(found.judged_row, _position(found.judged_row), found.judged_gain, found.queries, k)
    return _ratio(_dcg(found.row, found.rank, found.gain, found.queries, k), best)


def recall(found: Found, k: int) -> np.ndarray:
    """Fraction of the relevant documents that are among the first k."""
    return _ratio(found.count(k), _relevant(found))


def precision(found: Found, k: int) -> np.ndarray:
    """Fraction of relevant documents in the first k; ranks that a short ranking leaves empty count as not relevant."""
    return found.count(k) / k


def mrr(found: Found, k: int) -> np.ndarray:
    """Reciprocal rank of the first relevant document, 0 beyond rank k."""
    first = (_position(found.row) == 0) & (found.rank < k)
    return np.bincount(found.row[first], 1 / (found.rank[first] + 1), found.queries)


def average_precision(found: Found, k: int) -> np.ndarray:
    """Precision at each relevant document among the first k, summed and divided by all the relevant (map_cut)."""
    some = found.rank < k
    precisions = (_position(found.row) + 1) / (found.rank + 1)
    return _ratio(np.bincount(found.row[some], precisions[some], found.queries), _relevant(found))


MEASURES = {"ndcg": ndcg, "recall": recall, "mrr": mrr, "map": average_precision, "precision": precision}


def _dcg(row: np.ndarray, rank: np.ndarray, gain: np.ndarray, queries: int, k: int) -> np.ndarray:
    some = rank < k
    return np.bincount(row[some], gain[some] / np.log2(rank[some] + 2), queries)


def _relevant(found: Found) -> np.ndarray:
    return np.bincount(found.judged_row, minlength=found.queries)


def _position(row: np.ndarray) -> np.ndarray:
    """How many entries of the same row stand before each; `row` is sorted."""
    return np.arange(len(row)) - np.searchsorted(row, row)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros(len(whole)), where=whole > 0)

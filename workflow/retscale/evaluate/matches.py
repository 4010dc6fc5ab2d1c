"""The relevant documents in a ranking, over all queries at once: they are few, and every metric is a sum over them.

A document is relevant if its judged score is above 0.
"""

from dataclasses import dataclass, replace

import numpy as np

_ROWS = 64  # rankings looked up at a time, so that they stay in a core's cache
_BITS = 16
_MASK = 2**_BITS - 1
_SALT = 0x9E3779B1


@dataclass(frozen=True)
class Matches:
    """Relevant documents that were ranked: parallel arrays `row` of the query, `rank` from 0
    and `gain`, sorted by row and rank.

    `judged_row` and `judged_gain` are all relevant documents, best first within a query.
    """

    queries: int
    row: np.ndarray
    rank: np.ndarray
    gain: np.ndarray
    judged_row: np.ndarray
    judged_gain: np.ndarray

    def at_least(self, gain: int) -> "Matches":
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
        """How many were ranked before `k`, of each query."""
        return np.bincount(self.row[self.rank < k], minlength=self.queries)

    def relevant(self) -> np.ndarray:
        """How many there are, of each query."""
        return np.bincount(self.judged_row, minlength=self.queries)

    def position(self) -> np.ndarray:
        """Of each, how many of the same query were ranked before it."""
        return _position(self.row)

    def total(self, values: np.ndarray, kept: np.ndarray) -> np.ndarray:
        """The sum of the `values` of those that are `kept`, of each query."""
        return np.bincount(self.row[kept], values[kept], self.queries)

    def dcg(self, k: int) -> np.ndarray:
        """Discounted cumulative gain of each query, with linear gains."""
        return _dcg(self.row, self.rank, self.gain, self.queries, k)

    def best_dcg(self, k: int) -> np.ndarray:
        """That of the best ranking."""
        return _dcg(self.judged_row, _position(self.judged_row), self.judged_gain, self.queries, k)

    @staticmethod
    def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
        """`part` of `whole`; 0 where there is no whole."""
        return np.divide(part, whole, out=np.zeros(len(whole)), where=whole > 0)


def match(ranked: np.ndarray, queries: np.ndarray, documents: np.ndarray, scores: np.ndarray) -> Matches:
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
        query_hashes = (keys[a:b] % stride ^ keys[a:b] // stride * _SALT) & _MASK
        maybe[query_hashes] = True
        hashes = ranked[first : first + _ROWS] ^ np.arange(first, min(first + _ROWS, len(ranked)))[:, None] * _SALT
        hashes &= _MASK
        row, rank = np.divmod(np.flatnonzero(maybe.take(hashes, mode="clip")), ranked.shape[1])
        maybe[query_hashes] = False
        rows.append(first + row)
        ranks.append(rank)
    row, rank = (np.concatenate(part) if part else np.empty(0, np.int64) for part in (rows, ranks))
    ranked_keys = row * stride + ranked[row, rank]
    position = np.searchsorted(keys, ranked_keys).clip(max=max(len(keys) - 1, 0))
    judged = (keys[position] == ranked_keys) & (ranked[row, rank] >= 0)
    best_first = np.lexsort((-scores, queries))
    return Matches(
        len(ranked), row[judged], rank[judged], scores[order[position[judged]]], queries[best_first], scores[best_first]
    )


def _dcg(row: np.ndarray, rank: np.ndarray, gain: np.ndarray, queries: int, k: int) -> np.ndarray:
    within = rank < k
    return np.bincount(row[within], gain[within] / np.log2(rank[within] + 2), queries)


def _position(row: np.ndarray) -> np.ndarray:
    """How many entries of the same row stand before each; `row` is sorted."""
    return np.arange(len(row)) - np.searchsorted(row, row)

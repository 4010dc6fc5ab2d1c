"""BM25: passages are indexed once, then ranked for any number of queries."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain, pairwise

import numpy as np

from retscale.common import machine
from retscale.mine.config import Bm25
from retscale.mine.terms import Terms

CHUNK = 2**16  # passages read at a time
QUERIES = 2**12  # queries searched at a time
BLOCK = 2**16  # passages whose sums are held at a time: 256 KB, which fits a core's L2 cache
COMPILE = 2**25  # queries x passages above which compiling the search, about 3 s, pays off


class Index:
    """An inverted index: passages by word, or by what `terms` maps it to.

    A word's list is a slice `starts[word]:starts[word + 1]` of `passages` (int32, ascending) and `gains` (float32, what
    the word adds to the passage's score). `bounds` is each word's greatest gain. A score is the float32 sum of gains,
    greatest bound first, so it has the same bits however the search is split. An index takes 20 bytes per posting while
    it is built, and 8 afterwards.
    """

    def __init__(self, texts: Sequence[str], config: Bm25):
        self.count = len(texts)
        self.terms = Terms(config.stopwords, config.stemmer)
        parts, lengths = _postings(texts, self.terms)
        alphabetical = np.array(self.terms.close(), np.int32)
        frequency = np.zeros(len(alphabetical), np.int64)
        for word, _, _ in parts:
            frequency += np.bincount(alphabetical[word], minlength=len(alphabetical))
        self.starts = np.concatenate([[0], frequency.cumsum()])
        self.passages = np.empty(self.starts[-1], np.int32)
        self.gains = np.empty(self.starts[-1], np.float32)
        weight = idf(frequency, self.count, config.variant)
        relative = lengths / (lengths.mean() or 1) if self.count else lengths
        next_free = self.starts[:-1].copy()
        for _ in range(len(parts)):
            word, passage, tf = parts.pop(0)
            word = alphabetical[word]
            runs = np.flatnonzero(np.diff(word, prepend=-1))
            sizes = np.diff(runs, append=len(word))
            position = next_free[word] + np.arange(len(word)) - np.repeat(runs, sizes)
            next_free[word[runs]] += sizes
            self.passages[position] = passage
            self.gains[position] = weight[word] * saturation(tf, relative[passage], config)
        self.bounds = (
            np.maximum.reduceat(self.gains, self.starts[:-1]) if len(alphabetical) else np.empty(0, np.float32)
        )

    def top(
        self,
        queries: Sequence[str],
        excluded: Sequence[np.ndarray],
        k: int,
        *,
        block: int = BLOCK,
        threads: int | None = None,
        compiled: bool | None = None,
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """For each query at most `k` passages (int32) and their scores, best first, ties by lower number.

        Passages that score 0 and those in `excluded[query]` are left out. None of `block`, `threads` (None: as many as
        the job may use) and `compiled` (None: where it pays) changes a bit of a result.
        """
        if compiled is None:
            compiled = len(queries) * self.count >= COMPILE
        search = partial(self._search_compiled, block=block) if compiled else self._search_numpy
        threads = threads or int(os.environ.get("OMP_NUM_THREADS") or machine.cores())
        with ThreadPoolExecutor(threads) as pool:
            for first in range(0, len(queries), QUERIES):
                last = min(first + QUERIES, len(queries))
                cuts = np.linspace(first, last, threads + 1).astype(int)
                slices = [slice(a, b) for a, b in pairwise(cuts) if a < b]
                for results in pool.map(lambda part: search(queries[part], excluded[part], k), slices):
                    yield from results

    def scores(self, query: str, passages: np.ndarray) -> np.ndarray:
        """The float32 scores of some passages, the same bits as `top` finds."""
        total = np.zeros(len(passages), np.float32)
        _, words, weights = self._query_terms([query])
        for word, weight in zip(words, weights):
            postings = slice(self.starts[word], self.starts[word + 1])
            position = np.searchsorted(self.passages[postings], passages).clip(max=postings.stop - postings.start - 1)
            present = self.passages[postings][position] == passages
            total[present] += weight * self.gains[postings][position[present]]
        return total

    def _query_terms(self, queries: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """starts, words (int64) and weights (float32): the known words of query q, greatest bound first, and how often
        it has each are the slice starts[q]:starts[q + 1]."""
        query, words = _words(queries, self.terms)
        pairs, tf = np.unique(query * len(self.bounds) + words, return_counts=True)
        query, words = np.divmod(pairs, max(len(self.bounds), 1))
        weights = tf.astype(np.float32)
        order = np.lexsort((words, -weights * self.bounds[words], query))
        return _starts(np.bincount(query, minlength=len(queries))), words[order], weights[order]

    def _search_numpy(self, queries: Sequence[str], excluded: Sequence[np.ndarray], k: int) -> list[tuple]:
        """The search in numpy: every posting list is added up."""
        starts, words, weights = self._query_terms(queries)
        results = []
        for q, excluded_passages in enumerate(excluded):
            total = np.zeros(self.count, np.float32)
            for word, weight in zip(words[starts[q] : starts[q + 1]], weights[starts[q] : starts[q + 1]]):
                postings = slice(self.starts[word], self.starts[word + 1])
                total[self.passages[postings]] += weight * self.gains[postings]
            total[excluded_passages] = 0
            ranked = np.flatnonzero(total).astype(np.int32)
            if len(ranked) > k:
                least = np.partition(total[ranked], -k)[-k]
                ranked = ranked[total[ranked] >= least]  # all that tie with the last stay in; ties are broken by number
            ranked = ranked[np.lexsort((ranked, -total[ranked]))][:k]
            results.append((ranked, total[ranked]))
        return results

    def _search_compiled(
        self, queries: Sequence[str], excluded: Sequence[np.ndarray], k: int, block: int
    ) -> list[tuple]:
        """The same with the compiled search."""
        from retscale.mine import kernel

        starts, words, weights = self._query_terms(queries)
        best = np.zeros((len(queries), min(k, self.count)), np.int64)
        kernel.search(
            self.starts,
            self.passages,
            self.gains,
            self.count,
            starts,
            words,
            weights,
            weights * self.bounds[words],
            _starts([len(rows) for rows in excluded]),
            np.concatenate([np.sort(rows) for rows in excluded]).astype(np.int32),
            block,
            best,
        )
        best = np.sort(best, axis=1)[:, ::-1]
        passages = (kernel.LOW_BITS - (best & kernel.LOW_BITS)).astype(np.int32)
        scores = (best >> 32).astype(np.int32).view(np.float32)
        return [(passages[q, :n], scores[q, :n]) for q, n in enumerate((best > 0).sum(1))]


def idf(frequency: np.ndarray, count: int, variant: str) -> np.ndarray:
    """A word's weight from the number of passages that contain it (Kamphuis et al. 2020, "Which BM25 do you mean?")."""
    if variant == "atire":
        return np.log(count / frequency)
    odds = (count - frequency + 0.5) / (frequency + 0.5)
    return np.log1p(odds) if variant == "lucene" else np.log(np.maximum(odds, 1))


def saturation(tf: np.ndarray, length: np.ndarray, config: Bm25) -> np.ndarray:
    """What `tf` occurrences count in passages of `length` mean lengths; (k1 + 1) only scales, and Lucene omits it."""
    scale = config.k1 + 1 if config.variant == "atire" else 1
    return scale * tf / (tf + config.k1 * (1 - config.b + config.b * length))


def _postings(texts: Sequence[str], terms: Terms) -> tuple[list[tuple], np.ndarray]:
    """For each chunk (word, passage, occurrences) sorted by both, and the number of words of each passage."""
    parts, lengths = [], np.empty(len(texts), np.int32)
    for first in range(0, len(texts), CHUNK):
        chunk = texts[first : first + CHUNK]
        passage, words = _words(chunk, terms)
        lengths[first : first + CHUNK] = np.bincount(passage, minlength=len(chunk))
        postings, tf = np.unique(words * CHUNK + passage, return_counts=True)
        parts.append(
            ((postings // CHUNK).astype(np.int32), (postings % CHUNK + first).astype(np.int32), tf.astype(np.int32))
        )
    return parts, lengths


def _words(texts: Sequence[str], terms: Terms) -> tuple[np.ndarray, np.ndarray]:
    """The known words of all texts in their order (int64), each with the position of its text."""
    split_texts = [terms.numbers(text) for text in texts]
    sizes = np.fromiter(map(len, split_texts), np.int64, len(split_texts))
    words = np.fromiter(chain.from_iterable(split_texts), np.int64, sizes.sum())
    known = words >= 0
    return np.repeat(np.arange(len(split_texts)), sizes)[known], words[known]


def _starts(sizes: Sequence[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])

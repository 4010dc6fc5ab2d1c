"""BM25: passages are indexed once, then ranked for any number of queries."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain, pairwise

import numpy as np

from retscale.mine.config import MineConfig
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

    def __init__(self, texts: Sequence[str], config: MineConfig):
        self.count = len(texts)
        self.terms = Terms(config.stopwords, config.stemmer)
        parts, lengths = _read(texts, self.terms)
        number = np.array(self.terms.close(), np.int32)
        frequency = np.zeros(len(number), np.int64)
        for word, _, _ in parts:
            frequency += np.bincount(number[word], minlength=len(number))
        self.starts = np.concatenate([[0], frequency.cumsum()])
        self.passages = np.empty(self.starts[-1], np.int32)
        self.gains = np.empty(self.starts[-1], np.float32)
        weight = idf(frequency, self.count, config.variant)
        relative = lengths / (lengths.mean() or 1) if self.count else lengths
        free = self.starts[:-1].copy()
        for _ in range(len(parts)):
            word, passage, times = parts.pop(0)
            word = number[word]
            runs = np.flatnonzero(np.diff(word, prepend=-1))
            sizes = np.diff(runs, append=len(word))
            place = free[word] + np.arange(len(word)) - np.repeat(runs, sizes)
            free[word[runs]] += sizes
            self.passages[place] = passage
            self.gains[place] = weight[word] * saturation(times, relative[passage], config)
        self.bounds = np.maximum.reduceat(self.gains, self.starts[:-1]) if len(number) else np.empty(0, np.float32)

    def top(
        self,
        queries: Sequence[str],
        spared: Sequence[np.ndarray],
        k: int,
        *,
        block: int = BLOCK,
        threads: int | None = None,
        compiled: bool | None = None,
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """For each query at most `k` passages (int32) and their scores, best first, ties by lower number.

        Passages that score 0 and those in `spared[query]` are left out. None of `block`, `threads` (None: as many as
        the job may use) and `compiled` (None: where it pays) changes a bit of a result.
        """
        if compiled is None:
            compiled = len(queries) * self.count >= COMPILE
        search = partial(self._compiled, block=block) if compiled else self._plain
        threads = threads or int(os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0)))
        with ThreadPoolExecutor(threads) as pool:
            for first in range(0, len(queries), QUERIES):
                last = min(first + QUERIES, len(queries))
                cuts = np.linspace(first, last, threads + 1).astype(int)
                parts = [slice(a, b) for a, b in pairwise(cuts) if a < b]
                for found in pool.map(lambda part: search(queries[part], spared[part], k), parts):
                    yield from found

    def scores(self, query: str, passages: np.ndarray) -> np.ndarray:
        """The float32 scores of some passages, the same bits as `top` finds."""
        total = np.zeros(len(passages), np.float32)
        _, words, weights = self._asked([query])
        for word, weight in zip(words, weights):
            some = slice(self.starts[word], self.starts[word + 1])
            at = np.searchsorted(self.passages[some], passages).clip(max=some.stop - some.start - 1)
            there = self.passages[some][at] == passages
            total[there] += weight * self.gains[some][at[there]]
        return total

    def _asked(self, queries: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """starts, words (int64) and weights (float32): the known words of query q, greatest bound first, and how often
        it has each are the slice starts[q]:starts[q + 1]."""
        known = [[word for word in self.terms.of(query) if word >= 0] for query in queries]
        sizes = np.fromiter(map(len, known), np.int64, len(known))
        flat = np.fromiter(chain.from_iterable(known), np.int64, sizes.sum())
        queried, times = np.unique(
            np.repeat(np.arange(len(known)), sizes) * len(self.bounds) + flat, return_counts=True
        )
        query, words = np.divmod(queried, max(len(self.bounds), 1))
        weights = times.astype(np.float32)
        order = np.lexsort((words, -weights * self.bounds[words], query))
        return _starts(np.bincount(query, minlength=len(known))), words[order], weights[order]

    def _plain(self, queries: Sequence[str], spared: Sequence[np.ndarray], k: int) -> list[tuple]:
        """The search in numpy: every posting list is added up."""
        starts, words, weights = self._asked(queries)
        found = []
        for q, without in enumerate(spared):
            total = np.zeros(self.count, np.float32)
            for word, weight in zip(words[starts[q] : starts[q + 1]], weights[starts[q] : starts[q + 1]]):
                some = slice(self.starts[word], self.starts[word + 1])
                total[self.passages[some]] += weight * self.gains[some]
            total[without] = 0
            ranked = np.flatnonzero(total).astype(np.int32)
            if len(ranked) > k:
                least = np.partition(total[ranked], -k)[-k]
                ranked = ranked[total[ranked] >= least]  # all that tie with the last stay in; ties are broken by number
            ranked = ranked[np.lexsort((ranked, -total[ranked]))][:k]
            found.append((ranked, total[ranked]))
        return found

    def _compiled(self, queries: Sequence[str], spared: Sequence[np.ndarray], k: int, block: int) -> list[tuple]:
        """The same with the compiled search."""
        from retscale.mine import kernel

        starts, words, weights = self._asked(queries)
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
            _starts([len(some) for some in spared]),
            np.concatenate([np.sort(some) for some in spared]).astype(np.int32),
            block,
            best,
        )
        best = np.sort(best, axis=1)[:, ::-1]
        passages = (kernel.ALL - (best & kernel.ALL)).astype(np.int32)
        scores = (best >> 32).astype(np.int32).view(np.float32)
        return [(passages[q, :n], scores[q, :n]) for q, n in enumerate((best > 0).sum(1))]


def idf(frequency: np.ndarray, count: int, variant: str) -> np.ndarray:
    """A word's weight from the number of passages that contain it (Kamphuis et al. 2020, "Which BM25 do you mean?")."""
    if variant == "atire":
        return np.log(count / frequency)
    odds = (count - frequency + 0.5) / (frequency + 0.5)
    return np.log1p(odds) if variant == "lucene" else np.log(np.maximum(odds, 1))


def saturation(times: np.ndarray, length: np.ndarray, config: MineConfig) -> np.ndarray:
    """What `times` occurrences count in passages of `length` mean lengths; (k1 + 1) only scales, and Lucene omits it."""
    scale = config.k1 + 1 if config.variant == "atire" else 1
    return scale * times / (times + config.k1 * (1 - config.b + config.b * length))


def _read(texts: Sequence[str], terms: Terms) -> tuple[list[tuple], np.ndarray]:
    """For each chunk (word, passage, occurrences) sorted by both, and the number of words of each passage."""
    parts, lengths = [], np.empty(len(texts), np.int32)
    for first in range(0, len(texts), CHUNK):
        split = [terms.of(text) for text in texts[first : first + CHUNK]]
        sizes = np.fromiter(map(len, split), np.int64, len(split))
        words = np.fromiter(chain.from_iterable(split), np.int64, sizes.sum())
        passage = np.repeat(np.arange(len(split)), sizes)[words >= 0]
        words = words[words >= 0]
        lengths[first : first + CHUNK] = np.bincount(passage, minlength=len(split))
        postings, times = np.unique(words * CHUNK + passage, return_counts=True)
        parts.append(
            ((postings // CHUNK).astype(np.int32), (postings % CHUNK + first).astype(np.int32), times.astype(np.int32))
        )
    return parts, lengths


def _starts(sizes: Sequence[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])

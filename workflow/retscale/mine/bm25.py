"""BM25 scores of every passage for a query."""

from collections.abc import Iterator

import bm25s
import numpy as np

from retscale.mine.config import MineConfig


class Index:
    """Passages indexed once by bm25s: words of two or more letters or digits, lower case, unstemmed."""

    def __init__(self, passages: list[str], config: MineConfig):
        self._stopwords = "english" if config.stopwords == "english" else None
        tokens = self._tokens(passages)
        # bm25s builds its own vocabulary from a set, in an order that varies with Python's hash seed; scores do not
        # depend on it, but a vocabulary in order of appearance is the same in every process.
        words = dict.fromkeys(word for passage in tokens for word in passage)
        self._ids = {word: i for i, word in enumerate(words)}
        self._passages = len(passages)
        self._scorer = None
        if words:
            ids = [[self._ids[word] for word in passage] for passage in tokens]
            # numpy, not numba: the same arithmetic whatever is installed.
            self._scorer = bm25s.BM25(k1=config.k1, b=config.b, method=config.variant, backend="numpy")
            self._scorer.index((ids, dict(self._ids)), show_progress=False, create_empty_token=False)

    def scores(self, queries: list[str]) -> Iterator[np.ndarray]:
        """float32 (passages,) for each query: 0 where no word is shared; a word counts as often as the query has it."""
        for words in self._tokens(queries):
            ids = [self._ids[word] for word in words if word in self._ids]
            yield self._scorer.get_scores_from_ids(ids) if ids else np.zeros(self._passages, dtype=np.float32)

    def _tokens(self, texts: list[str]) -> list[list[str]]:
        return bm25s.tokenize(texts, stopwords=self._stopwords, return_ids=False, show_progress=False)

"""Keep texts of the tests out of training."""

from collections.abc import Iterable

from retscale.common.copies import key, untitled
from retscale.common.words import words


class Excluder:
    """Tells which test, if any, a training pair overlaps.

    A text overlaps a test if it equals one of the test's texts up to `copies.key`, or, for passages, if at least
    `near_share` of its runs of `near_words` words occur in the test's texts.
    """

    def __init__(self, tests: dict[str, Iterable[str]], near_words: int = 13, near_share: float = 0.5):
        self.near_words, self.near_share = near_words, near_share
        self.keys: dict[str, set[str]] = {}
        self.runs: dict[str, set[int]] = {}
        for name, texts in tests.items():
            texts = list(texts)
            self.keys[name] = {key(text) for text in texts}
            self.runs[name] = set().union(*(runs(text, near_words) for text in texts))

    def reasons(self, query: str, passage: str) -> list[str]:
        """Why the pair may not be used: "<how> <test>" for each test it overlaps; empty if it may."""
        if not self.keys:  # nothing to exclude: skip the check of millions of passages
            return []
        query_key, passage_key, passage_runs = key(query), key(passage), runs(passage, self.near_words)
        overlaps = []
        for name, keys in self.keys.items():
            if passage_key in keys:
                overlaps.append(f"passage in {name}")
            elif query_key in keys:
                overlaps.append(f"query in {name}")
            elif passage_runs and len(passage_runs & self.runs[name]) >= self.near_share * len(passage_runs):
                overlaps.append(f"passage nearly in {name}")
        return overlaps


def runs(text: str, length: int) -> set[int]:
    """Hashes of all runs of `length` words after a leading title; empty for a shorter text. Only for use within one
    process: Python salts them."""
    tokens = words(untitled(text))
    return {hash(tuple(tokens[i : i + length])) for i in range(len(tokens) - length + 1)}

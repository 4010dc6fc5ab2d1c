"""Texts as sorted 64-bit fingerprints: one for the whole text, and one for each run of 13 words.

Two texts share a fingerprint if they are copies, or have a run of words in common after their titles; that one is
shared by chance has, for ten million fingerprints on either side, a chance of one in 100,000.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np

from retscale.common import copies
from retscale.common.words import words

RUN = 13  # the customary unit of contamination checks since GPT-3 (Brown et al. 2020, appendix C)
CHUNK = 2**14  # texts at a time
_SALTS = np.random.default_rng(0).integers(0, 2**64, RUN, dtype=np.uint64) | np.uint64(1)


@dataclass(frozen=True)
class Fingerprints:
    """The sorted fingerprints of many texts."""

    exact: np.ndarray
    runs: np.ndarray


class Numbers(defaultdict):
    """Numbers of words, from 0 in order of appearance; while it is `closed`, every other word is -1."""

    closed = False

    def __missing__(self, word: str) -> int:
        if self.closed:
            return -1
        self[word] = number = len(self)
        return number


def fingerprints(texts: Iterable[str], numbers: Numbers) -> Fingerprints:
    """The fingerprints of all `texts`, whose words join `numbers`."""
    exact, by_runs = [np.empty(0, np.uint64)], [np.empty(0, np.uint64)]
    texts = iter(texts)
    while chunk := list(islice(texts, CHUNK)):
        exact.append(copies.fingerprints(chunk))
        by_runs.append(np.unique(runs(chunk, numbers)[0]))
    return Fingerprints(np.unique(np.concatenate(exact)), np.unique(np.concatenate(by_runs)))


def runs(texts: list[str], numbers: Numbers) -> tuple[np.ndarray, np.ndarray]:
    """The fingerprints (uint64) of all runs of words, and the row of the text that each is from."""
    split_texts = [words(copies.untitled(text)) for text in texts]
    sizes = np.fromiter(map(len, split_texts), np.int64, len(split_texts))
    flat = np.fromiter(map(numbers.__getitem__, chain.from_iterable(split_texts)), np.int64, sizes.sum())
    rows = np.repeat(np.arange(len(split_texts)), sizes)
    if len(flat) < RUN:
        return np.empty(0, np.uint64), np.empty(0, np.int64)
    starts = np.flatnonzero(rows[: len(rows) - RUN + 1] == rows[RUN - 1 :])
    hashes = np.zeros(len(starts), np.uint64)
    for i, salt in enumerate(_SALTS):
        hashes += _mixed(flat[starts + i].astype(np.uint64) + np.uint64(1)) * salt
    return _mixed(hashes), rows[starts]


def among(hashes: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Which of `hashes` are among the sorted `known` ones."""
    if not len(known):
        return np.zeros(len(hashes), bool)
    return known[np.searchsorted(known, hashes).clip(max=len(known) - 1)] == hashes


def _mixed(x: np.ndarray) -> np.ndarray:
    """uint64 -> uint64, one to one, every bit dependent on all (Steele et al. 2014, SplitMix64's finalizer)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))

"""A corpus as token ids on disk: made once, then shared by every encoder that tokenizes text the same way."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from retscale.common.files import atomic_write
from retscale.model.distinct import digests, distinct


class Tokens:
    """The distinct token sequences of the `count` texts of a corpus, mapped from disk.

    `tokens[a:b]` is a list of int32 arrays, in the order in which they first occur; `number` (count,) int32 says which
    sequence is a text's.
    The file holds the ids of all texts, int32, then where each text begins and the last one ends, count + 1 of int64,
    then `number`. ValueError if it does not.
    """

    def __init__(self, path: Path, count: int):
        bytes_of_ids = path.stat().st_size - 8 * (count + 1) - 4 * count
        if bytes_of_ids < 0:
            raise ValueError(f"{path}: too short for {count} texts")
        ends = np.fromfile(path, np.int64, count + 1, offset=bytes_of_ids)
        self.number = np.fromfile(path, np.int32, count, offset=bytes_of_ids + 8 * (count + 1))
        steps = np.diff(np.maximum.accumulate(self.number), prepend=-1)  # 1 where a sequence first occurs
        if (
            ends[0] != 0
            or 4 * ends[-1] != bytes_of_ids
            or (np.diff(ends) < 0).any()
            or not ((steps >= 0) & (steps <= 1) & (self.number >= 0)).all()
        ):
            raise ValueError(f"{path}: not the tokens of {count} texts")
        firsts = np.flatnonzero(steps)
        self.starts, self.ends = ends[firsts], ends[firsts + 1]
        self.ids = np.memmap(path, np.int32, "r", shape=(int(ends[-1]),))

    def __len__(self) -> int:
        """How many sequences are distinct."""
        return len(self.starts)

    def __getitem__(self, rows: slice) -> list[np.ndarray]:
        return [self.ids[a:b] for a, b in zip(self.starts[rows], self.ends[rows])]


def tokens(
    path: Path, count: int, texts: Iterator[list[str]], tokenize: Callable[[list[str]], list[np.ndarray]]
) -> Tokens:
    """The tokens in the file `path`, made from `count` texts if it is missing or incomplete.

    One file, written beside it and renamed: concurrent or killed jobs do no harm.
    """
    if existing := _complete(path, count):
        return existing
    # Another process that was faster may have its file mapped: over NFS, replacing a mapped file breaks its reader.
    with atomic_write(path, unless=lambda: _complete(path, count)) as file:
        lengths, bits = [np.zeros(1, np.int64)], []
        for batch in texts:
            ids = tokenize(batch)
            lengths.append(np.array([len(x) for x in ids], np.int64))
            bits.append(digests(ids))
            np.concatenate(ids).tofile(file)
        np.cumsum(np.concatenate(lengths)).tofile(file)
        distinct(np.concatenate(bits))[1].tofile(file)
    return Tokens(path, count)


def _complete(path: Path, count: int) -> Tokens | None:
    """The tokens in `path`, unless there are none, or not those of `count` texts."""
    try:
        return Tokens(path, count)
    except (OSError, ValueError):
        return None

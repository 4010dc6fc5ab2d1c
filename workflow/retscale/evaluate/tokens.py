"""A corpus as token ids on disk: made once, then shared by every encoder that reads text the same way."""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np


class Tokens:
    """Token ids of the `count` texts of a corpus, mapped from disk: `tokens[a:b]` is a list of int32 arrays.

    The file holds the ids of all texts, int32, then where each text begins and the last one ends, count + 1 of int64.
    ValueError if it does not.
    """

    def __init__(self, path: Path, count: int):
        bytes_of_ids = path.stat().st_size - 8 * (count + 1)
        if bytes_of_ids < 0:
            raise ValueError(f"{path}: too short for {count} texts")
        self.ends = np.fromfile(path, np.int64, count + 1, offset=bytes_of_ids)
        if self.ends[0] != 0 or 4 * self.ends[-1] != bytes_of_ids or (np.diff(self.ends) < 0).any():
            raise ValueError(f"{path}: not the tokens of {count} texts")
        self.ids = np.memmap(path, np.int32, "r", shape=(int(self.ends[-1]),))

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, rows: slice) -> list[np.ndarray]:
        ends = self.ends[rows.start : rows.stop + 1]
        return [self.ids[a:b] for a, b in zip(ends, ends[1:])]


def tokens(
    path: Path, count: int, texts: Iterator[list[str]], tokenize: Callable[[list[str]], list[np.ndarray]]
) -> Tokens:
    """The tokens in the file `path`, made there of `count` texts if they are not there or not whole.

    One file, written beside it and moved in place: whoever comes at the same time, or is killed, harms nobody.
    """
    if whole := _whole(path, count):
        return whole
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:8]}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            lengths = [np.zeros(1, np.int64)]
            for some in texts:
                ids = tokenize(some)
                lengths.append(np.array([len(x) for x in ids], np.int64))
                np.concatenate(ids).tofile(file)
            np.cumsum(np.concatenate(lengths)).tofile(file)
            file.flush()
            os.fsync(file.fileno())
        # Another process may have been faster, and have it mapped: over NFS, replacing a mapped file breaks its reader.
        if not _whole(path, count):
            os.replace(beside, path)
    finally:
        Path(beside).unlink(missing_ok=True)
    return Tokens(path, count)


def _whole(path: Path, count: int) -> Tokens | None:
    """The tokens in `path`, unless there are none, or not those of `count` texts."""
    try:
        return Tokens(path, count)
    except (OSError, ValueError):
        return None

"""Token ids of many texts in one file, which its readers map instead of reading it."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from retscale.model.distinct import digests, distinct

TEXTS_AT_A_TIME = 2**16  # that are tokenized before their ids are written


class Tokens:
    """The token ids of `count` texts, mapped from disk.

    `tokens[a:b]` is a list of int32 arrays, the distinct sequences in the order in which they first occur; `number`
    (count,) int32 says which of them is a text's, and `text(row)` is that of one text.
    The file holds the ids of all texts, int32, then where each text begins and the last one ends, count + 1 of int64,
    then `number`. ValueError if it does not.
    """

    def __init__(self, path: Path, count: int):
        bytes_of_ids = path.stat().st_size - 8 * (count + 1) - 4 * count
        if bytes_of_ids < 0:
            raise ValueError(f"{path}: too short for {count} texts")
        content = np.memmap(path, np.uint8, "r").view(np.ndarray)
        self.ids = content[: bytes_of_ids // 4 * 4].view(np.int32)
        self.ends = content[bytes_of_ids : bytes_of_ids + 8 * (count + 1)].view(np.int64)
        self.number = content[bytes_of_ids + 8 * (count + 1) :].view(np.int32)
        steps = np.diff(np.maximum.accumulate(self.number), prepend=-1)  # 1 where a sequence first occurs
        if (
            self.ends[0] != 0
            or 4 * self.ends[-1] != bytes_of_ids
            or (np.diff(self.ends) < 0).any()
            or not ((steps >= 0) & (steps <= 1) & (self.number >= 0)).all()
        ):
            raise ValueError(f"{path}: not the tokens of {count} texts")
        self.firsts = np.flatnonzero(steps)

    def __len__(self) -> int:
        """How many sequences are distinct."""
        return len(self.firsts)

    def __getitem__(self, rows: slice) -> list[np.ndarray]:
        return [self.text(row) for row in self.firsts[rows]]

    def text(self, row: int) -> np.ndarray:
        return self.ids[self.ends[row] : self.ends[row + 1]]


class Chosen:
    """Texts out of several files, as a sequence of int32 arrays; `rows` (n,) count through the files one after another."""

    def __init__(self, files: list[Tokens], rows: np.ndarray):
        self.files = files
        starts = np.cumsum([0, *(len(file.number) for file in files)])
        self.file = np.searchsorted(starts, rows, "right").astype(np.int16) - 1
        self.row = rows - starts[self.file]

    def __len__(self) -> int:
        return len(self.row)

    def __getitem__(self, i: int) -> np.ndarray:
        return self.files[self.file[i]].text(self.row[i])


def write(path: Path, batches: Iterable[list[np.ndarray]]) -> Tokens:
    """Write the token ids of texts, given some texts at a time. Memory: 60 bytes a text, and a batch."""
    lengths, bits = [np.zeros(1, np.int64)], []
    with path.open("wb") as file:
        for ids in batches:
            lengths.append(np.array([len(x) for x in ids], np.int64))
            bits.append(digests(ids))
            np.concatenate(ids).tofile(file)
        np.cumsum(np.concatenate(lengths)).tofile(file)
        distinct(np.concatenate(bits))[1].tofile(file)
    return Tokens(path, sum(map(len, bits)))

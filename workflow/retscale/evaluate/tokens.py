"""A corpus as token ids on disk: made once, then shared by every encoder that reads text the same way."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np


class Tokens:
    """Token ids of the texts of a corpus, mapped from disk: `tokens[a:b]` is a list of int32 arrays."""

    def __init__(self, folder: Path):
        self.ends = np.load(folder / "ends.npy")
        self.ids = np.memmap(folder / "ids.int32", np.int32, "r", shape=(int(self.ends[-1]),))

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, rows: slice) -> list[np.ndarray]:
        ends = self.ends[rows.start : rows.stop + 1]
        return [self.ids[a:b] for a, b in zip(ends, ends[1:])]


def tokens(
    folder: Path, count: int, texts: Iterator[list[str]], tokenize: Callable[[list[str]], list[np.ndarray]]
) -> Tokens:
    """The tokens in `folder`, made there of `count` texts if they are not there or not whole.

    They are written beside it and moved in place, so that whoever comes at the same time, or is killed, harms nobody.
    """
    if whole := _whole(folder, count):
        return whole
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name[:8]}."))
    try:
        lengths = [np.zeros(1, np.int64)]
        with (work / "ids.int32").open("wb") as file:
            for some in texts:
                ids = tokenize(some)
                lengths.append(np.array([len(x) for x in ids], np.int64))
                np.concatenate(ids).tofile(file)
            os.fsync(file.fileno())
        with (work / "ends.npy").open("wb") as file:
            np.save(file, np.cumsum(np.concatenate(lengths)))
            os.fsync(file.fileno())
        if not _whole(folder, count):  # another process may have been faster: its tokens are the same
            shutil.rmtree(folder, ignore_errors=True)
            with contextlib.suppress(OSError):
                os.rename(work, folder)
        return Tokens(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _whole(folder: Path, count: int) -> Tokens | None:
    """The tokens in `folder`, unless there are none, or fewer or more than there should be."""
    try:
        found = Tokens(folder)
        size = (folder / "ids.int32").stat().st_size
    except (OSError, ValueError, EOFError, IndexError):
        return None
    return found if len(found) == count and size == 4 * found.ends[-1] else None

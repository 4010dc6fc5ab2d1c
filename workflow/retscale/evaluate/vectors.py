"""The vectors of a corpus, shard by shard: a killed job resumes after the last finished shard."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from retscale.common.files import atomic_write

VECTORS_A_SHARD = 2**16


def cut(count: int) -> list[slice]:
    """0 to `count` in shards."""
    return [slice(a, min(a + VECTORS_A_SHARD, count)) for a in range(0, count, VECTORS_A_SHARD)]


def shards(
    count: int, embed: Callable[[slice, int], np.ndarray], devices: int, storage: np.dtype, folder: Path
) -> Iterator[np.ndarray]:
    """Vectors of the sequences 0 to `count`, in order, VECTORS_A_SHARD at a time, in the format `storage`.

    `embed(rows, device)` makes them; each device works on a shard of its own. Finished shards are kept in `folder`,
    unless there is but one, and taken from there; each appears whole or not at all.
    """
    parts = cut(count)
    if len(parts) == 1:
        yield embed(parts[0], 0).astype(storage, copy=False)
        return

    def shard(rows: slice, device: int) -> np.ndarray:
        path = folder / f"{rows.start:010d}.npy"
        try:
            return np.load(path)
        except (OSError, ValueError, EOFError):
            pass  # missing or incomplete
        vectors = embed(rows, device).astype(storage, copy=False)
        _save(vectors, path)
        return vectors

    with ThreadPoolExecutor(devices) as pool:
        for first in range(0, len(parts), devices):
            yield from pool.map(shard, parts[first : first + devices], range(devices))


def _save(vectors: np.ndarray, path: Path) -> None:
    try:
        with atomic_write(path) as file:
            np.save(file, vectors)
    except FileNotFoundError:
        pass  # a job of another study, with the same encoder and corpus, has ended and taken the folder away

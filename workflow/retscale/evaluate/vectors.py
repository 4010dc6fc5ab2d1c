"""The vectors of a corpus, shard by shard: a killed job resumes after the last finished shard."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from threading import Event

import numpy as np
import torch

from retscale.common.files import atomic_write

VECTORS_A_SHARD = 2**16


def cut(count: int) -> list[slice]:
    """0 to `count` in shards."""
    return [slice(a, min(a + VECTORS_A_SHARD, count)) for a in range(0, count, VECTORS_A_SHARD)]


def shards_ahead(device: torch.device, devices: int) -> int:
    """How many shards are begun while one is searched: of each device one that it encodes, and one that is written.

    None on a CPU, where the search needs the same cores.
    """
    return 0 if device.type == "cpu" else 2 * devices


def shards(
    count: int,
    embed: Callable[[slice, int], np.ndarray],
    devices: int,
    ahead: int,
    storage: np.dtype = np.dtype(np.float32),
    folder: Path | None = None,
) -> Iterator[np.ndarray]:
    """Vectors of the sequences 0 to `count`, in order, VECTORS_A_SHARD at a time, in the format `storage`.

    `embed(rows, device)` makes them; a device that is free takes the next shard. While the caller has a shard, the
    `ahead` following ones are made; close the iterator to stop early. Finished shards are kept in `folder`, if there is
    one and more than one shard, and taken from there; each appears whole or not at all.
    """
    parts, closed = cut(count), Event()
    free: SimpleQueue[int] = SimpleQueue()
    for device in range(devices):
        free.put(device)

    def embedded(rows: slice) -> np.ndarray:
        device = free.get()
        try:
            if closed.is_set():
                raise CancelledError  # while it waited
            return embed(rows, device).astype(storage, copy=False)
        finally:
            free.put(device)

    def stored(rows: slice) -> np.ndarray:
        path = folder / f"{rows.start:010d}.npy"
        try:
            return np.load(path)
        except (OSError, ValueError, EOFError):
            pass  # missing or incomplete
        vectors = embedded(rows)
        _save(vectors, path)
        return vectors

    if len(parts) == 1:
        yield embedded(parts[0])
        return
    pool, begun = ThreadPoolExecutor(ahead + 1), deque[Future[np.ndarray]]()
    try:
        for rows in parts:
            begun.append(pool.submit(embedded if folder is None else stored, rows))
            if len(begun) > ahead:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    finally:
        closed.set()
        pool.shutdown(cancel_futures=True)


def _save(vectors: np.ndarray, path: Path) -> None:
    try:
        with atomic_write(path) as file:
            np.save(file, vectors)
    except FileNotFoundError:
        pass  # a job of another study, with the same encoder and corpus, has ended and taken the folder away

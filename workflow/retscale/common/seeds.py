"""Random numbers of their own for each thing that needs some, so that adding one thing leaves the others as they were."""

import hashlib
import zlib

import numpy as np


def stream(seed: int, *names: str) -> np.random.Generator:
    """For the few things of a study, such as the estimate of a task."""
    return np.random.default_rng([seed, *(zlib.crc32(name.encode()) for name in names)])


def of_query(seed: int, query_id: str) -> np.random.Generator:
    """For one of very many queries: ids of which none may share its numbers with another."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256(f"{seed} {query_id}".encode()).digest()[:8]))

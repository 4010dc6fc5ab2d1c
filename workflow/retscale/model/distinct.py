"""Equal token sequences, told by 128 bits of each: what is encoded once has one vector, to the bit."""

import hashlib

import numpy as np


def digests(ids: list[np.ndarray]) -> np.ndarray:
    """128 bits of each sequence of token ids: (sequences, 2) uint64."""
    bits = b"".join(hashlib.blake2b(x.tobytes(), digest_size=16).digest() for x in ids)
    return np.frombuffer(bits, np.uint64).reshape(-1, 2)


def distinct(digests: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each distinct sequence first occurs, ascending, and for each sequence (int32) its number among those."""
    order = np.lexsort(digests.T)  # stable: of equal ones the first comes first
    ordered = digests[order]
    new = np.ones(len(order), bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(1)
    firsts = order[new]
    number = np.empty(len(order), np.int32)
    number[np.sort(firsts)] = np.arange(len(firsts))
    number[order] = number[firsts][np.cumsum(new) - 1]
    return np.sort(firsts), number

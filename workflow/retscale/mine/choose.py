"""Which of a query's ranked passages become its negatives."""

import hashlib

import numpy as np


def hardest(scores: np.ndarray, skip: int, margin: float | None, positive: float) -> tuple[np.ndarray, np.ndarray]:
    """Split a ranking, given by its scores, into the ranks of candidates and of passages that may be unlabelled positives.

    The latter are the best `skip`, and with a `margin` every passage that scores above that share of `positive`, the
    lowest score of the query's positives (above that score itself, if it is negative).
    """
    trusted = np.arange(len(scores)) >= skip
    if margin is not None:
        trusted &= scores <= min(margin * positive, positive)
    return np.flatnonzero(trusted), np.flatnonzero(~trusted)


def choose(
    candidates: np.ndarray, forbidden: np.ndarray, passages: int, n: int, random: bool, generator: np.random.Generator
) -> np.ndarray:
    """`n` negatives: the first candidates, or a choice of them in their order, filled up with other passages.

    Fillers are drawn from all `passages` that are neither candidates nor forbidden; ValueError if these are too few.
    """
    if len(candidates) >= n:
        return candidates[np.sort(generator.permutation(len(candidates))[:n])] if random else candidates[:n]
    taken = np.union1d(candidates, forbidden)
    free, lacking = passages - len(taken), n - len(candidates)
    if free < lacking:
        raise ValueError(f"only {len(candidates) + free} passages may be negatives, {n} are asked for")
    # The i-th free passage: i plus the taken ones before it; `taken - arange` counts the free ones before each.
    drawn = generator.choice(free, lacking, replace=False)
    return np.concatenate([candidates, drawn + np.searchsorted(taken - np.arange(len(taken)), drawn, side="right")])


def generator(seed: int, query_id: str) -> np.random.Generator:
    """Random numbers that belong to the query, whatever is mined before it."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256(f"{seed} {query_id}".encode()).digest()[:8]))

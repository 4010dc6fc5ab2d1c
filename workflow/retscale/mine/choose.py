"""Which of a query's scored passages become its negatives."""

import hashlib

import numpy as np


def best(scores: np.ndarray, forbidden: np.ndarray, top: int) -> np.ndarray:
    """Indices of the `top` highest positive scores outside `forbidden`, best first, ties by index.

    Passages that score 0 or less are never among them, so there may be fewer.
    """
    scores = scores.copy()
    scores[forbidden] = 0
    if top < len(scores):
        least = np.partition(scores, -top)[-top]  # all that tie with the last stay in, so that ties are broken by index
        found = np.flatnonzero((scores >= least) & (scores > 0))
    else:
        found = np.flatnonzero(scores > 0)
    return found[np.lexsort((found, -scores[found]))][:top]


def choose(
    candidates: np.ndarray, forbidden: np.ndarray, passages: int, n: int, random: bool, generator: np.random.Generator
) -> np.ndarray:
    """`n` negatives: the first candidates, or a choice of them in their order, filled up with other passages.

    Fillers are drawn from all `passages` that are neither candidates nor forbidden; ValueError if these are too few.
    """
    if len(candidates) >= n:
        return candidates[np.sort(generator.permutation(len(candidates))[:n])] if random else candidates[:n]
    free = np.setdiff1d(np.arange(passages), np.concatenate([candidates, forbidden]))
    lacking = n - len(candidates)
    if len(free) < lacking:
        raise ValueError(f"only {len(candidates) + len(free)} passages may be negatives, {n} are asked for")
    return np.concatenate([candidates, generator.choice(free, lacking, replace=False)])


def generator(seed: int, query_id: str) -> np.random.Generator:
    """Random numbers that belong to the query, whatever is mined before it."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256(f"{seed} {query_id}".encode()).digest()[:8]))

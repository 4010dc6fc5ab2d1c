"""Which of a query's ranked passages become its negatives."""

import numpy as np


def hardest(scores: np.ndarray, skip: int, margin: float | None, positive: float) -> np.ndarray:
    """The ranks of a ranking, given by its scores, that are not suspected to be unlabeled positives.

    Suspected are the best `skip`, and with a `margin` every passage that scores above that fraction of `positive`, the
    lowest score of the query's positives (above that score itself, if it is negative).
    """
    trusted = np.arange(len(scores)) >= skip
    if margin is not None:
        trusted &= scores <= min(margin * positive, positive)
    return np.flatnonzero(trusted)


def choose(ranks: np.ndarray, n: int, random: bool, generator: np.random.Generator) -> np.ndarray:
    """At most `n` of the ranks, in their order: the first ones, or a random sample."""
    return ranks[np.sort(generator.permutation(len(ranks))[:n])] if random else ranks[:n]

"""Corrections of p-values for the number of tests. Missing ones (nan) are no tests and stay missing."""

import numpy as np


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's step-down p-values (m,): below alpha, none of the rejected hypotheses is true with probability 1 - alpha.

    The i-th smallest p times m - i, no less than that of the smaller ones (Holm 1979). Needs no independence.
    """
    adjusted, tested = np.full(len(p), np.nan), np.flatnonzero(np.isfinite(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1) if len(order) else []
    return adjusted


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """p-values (m,) adjusted for the false discovery rate (Benjamini and Hochberg 1995)."""
    from scipy.stats import false_discovery_control

    adjusted, tested = np.full(len(p), np.nan), np.isfinite(p)
    if tested.any():
        adjusted[tested] = false_discovery_control(p[tested])
    return adjusted

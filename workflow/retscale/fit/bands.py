"""Half-widths of intervals and bands, the same for every form."""

import numpy as np

from retscale.fit.variance import Draws

STEPS = 60  # many more than are needed


def half_width(draws: Draws, weights: np.ndarray, alpha: float, new: bool = False) -> np.ndarray:
    """Distance from `weights @ y` (rows of weights: (m, n)) to either percentile of its bootstrap distribution (m,).

    A replicate adds size effects and checkpoint noise and refits. Given its variances the refit is exactly normal, with
    variance sigma² sum(w² / precision) + tau² sum over sizes of (sum of their w)², so the percentiles of all replicates together
    are solved for, not drawn. For a form that is not linear, w = g(X0) pinv(J) makes this the delta method. `new` adds
    a checkpoint of a new size.
    """
    from scipy.special import ndtr, ndtri

    by_size = np.stack([weights[:, draws.groups == group].sum(1) for group in range(draws.groups.max() + 1)], axis=1)
    noise, effect = (weights**2 / draws.precision).sum(1) + new, (by_size**2).sum(1) + new
    scale = np.sqrt(np.outer(draws.sigma**2, noise) + np.outer(draws.tau**2, effect))
    scale = np.maximum(scale, 1e-300)
    low, high = np.zeros(len(weights)), ndtri(1 - alpha / 2) * scale.max(0)
    half = ndtri(1 - alpha / 2) * (draws.mass @ scale)
    for _ in range(STEPS):
        z = half / scale
        missing = 1 - alpha / 2 - draws.mass @ ndtr(z)
        low, high = np.where(missing > 0, half, low), np.where(missing > 0, high, half)
        # Newton's step, or the middle of the bracket where it would leave that.
        step = missing / (draws.mass @ (np.exp(-(z**2) / 2) / scale) / np.sqrt(2 * np.pi) + 1e-300)
        inside = (low < half + step) & (half + step < high)
        before, half = half, np.where(inside, half + step, (low + high) / 2)
        if (np.abs(half - before) <= 1e-13 * half).all():
            break
    return half

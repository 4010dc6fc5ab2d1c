"""Variance between checkpoints of a size and between sizes, and intervals that know of both."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Components:
    """Sums of squares within and between sizes, their degrees of freedom, and tau's weight n0 in E[MSB]."""

    ss_within: float
    df_within: int
    ss_between: float
    df_between: int
    n0: float

    def sigma2(self) -> float:
        return self.ss_within / self.df_within

    def tau2(self) -> float:
        return max(0.0, (self.ss_between / self.df_between - self.sigma2()) / self.n0)


@dataclass(frozen=True)
class Draws:
    """Replicates of the two standard deviations, and the groups of the checkpoints that they belong to."""

    sigma: np.ndarray
    tau: np.ndarray
    groups: np.ndarray


def remainder(columns: np.ndarray, y: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """What is left of y (n,) after `columns` (n, k) times their coefficients (k,)."""
    for column, coefficient in zip(columns.T, coefficients, strict=True):
        y = y - coefficient * column
    return y


def components(columns: np.ndarray, y: np.ndarray, groups: np.ndarray) -> Components | None:
    """Variance components of y (n,) regressed on `columns` (n, k), the first of them constant.

    `groups` are numbered from 0. None where the components cannot be told apart. Within: residuals of y on the columns
    with an effect a group. Between: weighted residuals of the group means on the means of the columns.
    """
    counts = np.bincount(groups).astype(float)
    mean = np.stack([np.bincount(groups, column) / counts for column in columns.T], axis=1)
    mean_y = np.bincount(groups, y) / counts
    inside, dy = columns - mean[groups], y - mean_y[groups]
    inside = inside[:, np.ptp(inside, axis=0) > 0]
    df_within = len(y) - len(counts) - (int(np.linalg.matrix_rank(inside)) if inside.size else 0)
    df_between = len(counts) - columns.shape[1]
    if min(df_within, df_between) < 1 or np.linalg.matrix_rank(mean) < columns.shape[1]:
        return None
    slopes = np.linalg.pinv(inside.T @ inside) @ (inside.T @ dy)
    gram = np.linalg.inv(mean.T @ (counts[:, None] * mean))
    curve = gram @ mean.T @ (counts * mean_y)
    n0 = (len(y) - np.trace(gram @ (mean.T @ (counts[:, None] ** 2 * mean)))) / df_between
    return Components(
        float((remainder(inside, dy, slopes) ** 2).sum()),
        df_within,
        float((counts * (mean_y - mean @ curve) ** 2).sum()),
        df_between,
        float(n0),
    )


def mixed_bootstrap(groups: np.ndarray, variance: Components, replicates: int, rng: np.random.Generator) -> Draws:
    """New variances in each replicate: each sum of squares over a fresh chi-square of its degrees of freedom."""
    sigma2 = variance.ss_within / rng.chisquare(variance.df_within, replicates)
    between = variance.ss_between / rng.chisquare(variance.df_between, replicates)
    return Draws(np.sqrt(sigma2), np.sqrt(np.maximum(0, (between - sigma2) / variance.n0)), groups)


def half_width(draws: Draws, weights: np.ndarray, alpha: float, new: bool = False) -> np.ndarray:
    """Distance from `weights @ y` (rows of weights: (m, n)) to either percentile of its bootstrap distribution (m,).

    A replicate adds size effects and checkpoint noise and refits. Given its variances the refit is exactly normal, so
    the percentiles of all replicates together are solved for, not drawn. `new` adds a checkpoint of a new size.
    """
    from scipy.special import ndtr, ndtri

    by_size = np.stack([weights[:, draws.groups == group].sum(1) for group in range(draws.groups.max() + 1)], axis=1)
    noise, effect = (weights**2).sum(1) + new, (by_size**2).sum(1) + new
    scale = np.sqrt(np.outer(draws.sigma**2, noise) + np.outer(draws.tau**2, effect))
    scale = np.maximum(scale, 1e-300)
    low, high = np.zeros(len(weights)), ndtri(1 - alpha / 2) * scale.max(0)
    for _ in range(40):
        middle = (low + high) / 2
        short = ndtr(middle / scale).mean(0) < 1 - alpha / 2
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    return high

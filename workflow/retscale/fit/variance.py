"""Variance between checkpoints of a size and between sizes: what the data say of them, joined with a prior."""

from dataclasses import dataclass

import numpy as np

from retscale.fit.constant import ROUNDING
from retscale.fit.solve import rank

ENOUGH = 2  # degrees of freedom between sizes
QUANTILES = 20  # nodes of a variance that follows from a sum of squares: intervals are then right to a thousandth
NODES = 40  # nodes of tau under the prior, in logarithmic steps
NEGLIGIBLE = 1e-10  # a probability that changes no digit
RANGE = 1e-2, 1e2  # of those nodes, as multiples of the prior's or the estimated standard deviation


@dataclass(frozen=True)
class Prior:
    """tau² ~ df sd² / chi²(df): what is believed of the standard deviation between sizes before there are data."""

    sd: float
    df: float


@dataclass(frozen=True)
class Components:
    """Sums of squares within and between sizes, their degrees of freedom, and tau's weight n0 in E[MSB]."""

    ss_within: float
    df_within: int
    ss_between: float
    df_between: int
    n0: float

    @property
    def sigma(self) -> float | None:
        """Between checkpoints of a size, from the data alone."""
        return float(np.sqrt(self.ss_within / self.df_within)) if self.df_within else None

    @property
    def tau(self) -> float | None:
        """Between sizes, from the data alone."""
        if not (self.df_within and self.df_between):
            return None
        surplus = self.ss_between / self.df_between - self.ss_within / self.df_within
        return float(np.sqrt(max(0.0, surplus / self.n0)))


@dataclass(frozen=True)
class Draws:
    """Pairs of the two standard deviations (b,) with the probability of each, and the checkpoints' groups and precision (n,).

    They stand for the replicates of a parametric bootstrap that draws both variances anew: nodes of their distribution
    in place of a sample from it, so that no interval depends on a seed.
    """

    sigma: np.ndarray
    tau: np.ndarray
    mass: np.ndarray
    groups: np.ndarray
    precision: np.ndarray


def components(columns: np.ndarray, residuals: np.ndarray, groups: np.ndarray, precision: np.ndarray) -> Components:
    """Variance components of what a form with the Jacobian `columns` (n, k) leaves of n scores.

    `groups` are numbered from 0; the noise of a checkpoint is sigma² / `precision` (n,), by which all sums are weighted,
    so that a group's count is the sum of it. Within: residuals, less the mean of each group, regressed on the columns less theirs;
    n - groups - rank degrees of freedom. Between: weighted means of the groups regressed on those of the columns;
    groups - rank degrees of freedom. To first order nothing changes if the scores take the residuals' place.
    n0 = (n - trace((M'WM)^-1 M'W²M)) / df, M the means of the columns and W the groups' counts (Henderson's method 3).
    """
    counts, each = np.bincount(groups, precision), np.sqrt(precision)
    mean = np.stack([np.bincount(groups, precision * column) / counts for column in columns.T], axis=1)
    mean_y = np.bincount(groups, precision * residuals) / counts
    inside, inside_y = each[:, None] * (columns - mean[groups]), each * (residuals - mean_y[groups])
    # A column that is the same throughout each group leaves rounding, which is no regressor.
    inside = inside[:, np.linalg.norm(inside, axis=0) > 1e-9 * np.linalg.norm(columns, axis=0)]
    root = np.sqrt(counts)
    df_between = len(counts) - rank(mean)
    inverse = np.linalg.pinv(root[:, None] * mean, rcond=1e-9)
    n0 = (counts.sum() - np.trace(inverse @ (counts[:, None] * (root[:, None] * mean)))) / max(df_between, 1)
    return Components(
        _left(inside, inside_y),
        len(residuals) - len(counts) - rank(inside),
        _left(root[:, None] * mean, root * mean_y),
        df_between,
        float(n0),
    )


def _left(columns: np.ndarray, y: np.ndarray) -> float:
    """The sum of squares that regression on the columns leaves."""
    if columns.size:
        y = y - columns @ np.linalg.lstsq(columns, y, rcond=1e-9)[0]
    return float(y @ y)


def needs_prior(variance: Components) -> bool:
    """Whether the data say too little of the spread between sizes to be heard alone.

    With one degree of freedom between sizes the intervals of the data alone hold, but are three to five times as wide
    as effects of size ever measured; without one within sizes, or without any residual, there is nothing to go by.
    """
    silent = variance.ss_within + variance.ss_between < ROUNDING**2
    return silent or not variance.df_within or variance.df_between < ENOUGH


def distribution(variance: Components, prior: Prior, groups: np.ndarray, precision: np.ndarray) -> Draws:
    """Of both standard deviations, given the sums of squares: sigma² = SSW / chi²(df_within), and

    tau² = max(0, (SSB / chi²(df_between) - sigma²) / n0), or, where that `needs_prior`, the prior times the likelihood
    of SSB, which is (sigma² + n0 tau²) chi²(df_between). Without degrees of freedom within sizes all noise counts as
    tau, which then is that of one checkpoint of a size; without any between them the prior alone speaks.
    """
    from scipy.stats import chi2

    # Quadrature over the quantiles of chi-square, dense near 0, where the variances are large.
    nodes, weights = np.polynomial.legendre.leggauss(QUANTILES)
    quantiles, mass = (nodes + 1) / 2, weights / 2
    if variance.df_within:
        sigma2, mass_within = variance.ss_within / chi2.ppf(quantiles, variance.df_within), mass
    else:
        sigma2, mass_within = np.zeros(1), np.ones(1)
    if needs_prior(variance):
        tau2, mass_between = _posterior(sigma2[:, None], variance, prior)
    else:
        surplus = variance.ss_between / chi2.ppf(quantiles, variance.df_between) - sigma2[:, None]
        tau2, mass_between = np.maximum(0, surplus / variance.n0), mass[None]
    joint = np.broadcast_to(mass_within[:, None] * mass_between, (len(sigma2), tau2.shape[-1]))
    both = np.broadcast_to(np.sqrt(sigma2)[:, None], joint.shape), np.broadcast_to(np.sqrt(tau2), joint.shape)
    kept = joint > NEGLIGIBLE
    return Draws(both[0][kept], both[1][kept], joint[kept] / joint[kept].sum(), groups, precision)


def _posterior(sigma2: np.ndarray, variance: Components, prior: Prior) -> tuple[np.ndarray, np.ndarray]:
    """Nodes (NODES,) of tau² and their probabilities for each sigma² (b, 1): (b, NODES)."""
    scale = np.sqrt(variance.ss_between / variance.n0 / variance.df_between) if variance.df_between else 0.0
    tau2 = np.geomspace(RANGE[0] * prior.sd, RANGE[1] * max(prior.sd, scale), NODES) ** 2
    total = sigma2 + variance.n0 * tau2
    # Of the logarithm of tau, in whose steps the nodes are equally far apart.
    log_density = -prior.df / 2 * (np.log(tau2) + prior.sd**2 / tau2)
    if variance.df_between:
        log_density = log_density - variance.df_between / 2 * np.log(total) - variance.ss_between / (2 * total)
    density = np.exp(log_density - log_density.max(-1, keepdims=True)) + np.zeros_like(total)
    return tau2, density / density.sum(-1, keepdims=True)

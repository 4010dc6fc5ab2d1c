"""Linear models with a random effect of size, by restricted maximum likelihood (REML).

y = X b + u_size + e with u ~ N(0, tau^2) for each size and e ~ N(0, sigma^2 / p) for each checkpoint of precision p. For a
ratio lambda = tau^2 / sigma^2 the inverse of V / sigma^2 is, within a size of m = sum(p) checkpoints, P - c p p' with
P = diag(p) and c = lambda / (1 + m lambda), so that everything follows from sums over sizes. The restricted likelihood, with b and
sigma^2 solved for, is

    -2 log L = (n - k) log(r' V^-1 r / (n - k)) + sum over sizes log(1 + m lambda) + log det(X' V^-1 X) + constant

(Patterson and Thompson 1971). It is maximized over the share of variance between sizes, tau^2 / (tau^2 + sigma^2).
"""

from dataclasses import dataclass

import numpy as np

SHARES = np.append(np.linspace(0, 0.95, 20), [0.98, 0.99, 0.999])  # where the search begins
GOLDEN, STEPS = (np.sqrt(5) - 1) / 2, 40


@dataclass(frozen=True)
class Reml:
    """Estimates of r responses: `beta` (r, k), its `covariance` (r, k, k), `sigma` and `tau` (r,) in units of y."""

    beta: np.ndarray
    covariance: np.ndarray
    sigma: np.ndarray
    tau: np.ndarray


def reml(columns: np.ndarray, y: np.ndarray, groups: np.ndarray, precision: np.ndarray | None = None) -> Reml:
    """The model of each row of y (r, n) on `columns` (n, k), which must have full rank, k < n.

    `groups` (n,) are the sizes, numbered from 0; a `precision` (n,) that is not given is 1. The covariance is that of generalized least squares at the estimated
    variances, so intervals need Student's t with the degrees of freedom between sizes.
    """
    root = np.ones(len(groups)) if precision is None else np.sqrt(precision)
    member = root[:, None] * np.eye(groups.max() + 1)[groups]
    columns, y = root[:, None] * columns, root * y
    share = _best_share(columns, y, member)
    beta, inverse, sigma2, _ = _solve(columns, y, member, share)
    ratio = share / (1 - share)
    return Reml(beta, inverse * sigma2[:, None, None], np.sqrt(sigma2), np.sqrt(sigma2 * ratio))


def deviance(columns: np.ndarray, y: np.ndarray, member: np.ndarray, share: np.ndarray) -> np.ndarray:
    """-2 log of the restricted likelihood (r,), up to a constant, at shares (r,) of the variance between sizes.

    Columns and y are multiplied by the root of the precision; `member` (n, sizes) holds it where a checkpoint is of a size.
    """
    return _solve(columns, y, member, share)[3]


def _best_share(columns: np.ndarray, y: np.ndarray, member: np.ndarray) -> np.ndarray:
    """The least deviance of a grid, refined by a golden section between its neighbors."""
    at = np.stack([deviance(columns, y, member, np.full(len(y), share)) for share in SHARES]).argmin(0)
    low, high = SHARES[np.maximum(at - 1, 0)], SHARES[np.minimum(at + 1, len(SHARES) - 1)]
    for _ in range(STEPS):
        left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
        lower = deviance(columns, y, member, left) <= deviance(columns, y, member, right)
        low, high = np.where(lower, low, left), np.where(lower, right, high)
    # A maximum at 0 is approached and never reached.
    return np.where(high < 1e-6, 0.0, (low + high) / 2)


def _solve(columns: np.ndarray, y: np.ndarray, member: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, ...]:
    """Coefficients (r, k), the inverse of X' V^-1 X, sigma^2 (r,) and the deviance at these shares."""
    n, k = columns.shape
    counts = (member**2).sum(0)
    sums, sums_y = member.T @ columns, y @ member
    ratio = (share / (1 - share))[:, None]
    weights = ratio / (1 + counts * ratio)
    gram = columns.T @ columns - np.einsum("rs,sk,sl->rkl", weights, sums, sums)
    inverse = np.linalg.inv(gram)
    beta = np.einsum("rkl,rl->rk", inverse, y @ columns - (weights * sums_y) @ sums)
    left = y - beta @ columns.T
    residual = (left**2).sum(1) - (weights * (left @ member) ** 2).sum(1)
    sigma2 = np.maximum(residual, 0) / (n - k)
    with np.errstate(divide="ignore"):
        value = (n - k) * np.log(sigma2) + np.log1p(counts * ratio).sum(1) + np.linalg.slogdet(gram)[1]
    return beta, inverse, sigma2, value

"""Whether in-context and retrieval scores go together beyond what size and duration make of both.

Both sides are rid of an effect of each size and of d, d^2, d^3, d^4, nd, nd^2 (n = ln N, d = ln D), and the residuals
are correlated. Controlling compute alone does not do: what a line, or a size effect, leaves of two curves is correlated
by itself. With these columns the test keeps its size in linear, bent, saturating and sigmoid worlds; without d^4 it
rejects in .17 to .20 where steep sigmoids meet (tests/unit/test_fit_partial.py).
"""

from dataclasses import dataclass, replace

import numpy as np

from retscale.common.phrase import counted
from retscale.fit.constant import ROUNDING
from retscale.fit.correlate import Correlation, pearson

FEWEST_DF = 8


@dataclass(frozen=True)
class Control:
    """An orthonormal basis (n, rank) of what is controlled, and the degrees of freedom that are left for r."""

    basis: np.ndarray
    df: int

    def residuals(self, values: np.ndarray) -> np.ndarray:
        """What the control leaves of `values` (any, n); exact zeros where that is rounding."""
        left = values - (values @ self.basis) @ self.basis.T
        scale = np.abs(values).max(-1, keepdims=True, initial=0)
        return np.where(np.abs(left).max(-1, keepdims=True, initial=0) > ROUNDING * np.maximum(1, scale), left, 0.0)


def control(log_params: np.ndarray, log_tokens: np.ndarray, sizes: np.ndarray) -> Control:
    """Of n = ln N and d = ln D (n,) and sizes numbered from 0; df = n - rank - 1, as of a partial correlation."""
    n, d = (values - values.mean() if len(values) else values for values in (log_params, log_tokens))
    effects = np.eye(sizes.max(initial=-1) + 1)[sizes]
    columns = np.column_stack([effects, d, d**2, d**3, d**4, n * d, n * d**2])
    columns = columns / np.maximum(np.linalg.norm(columns, axis=0), 1e-300)
    vectors, values, _ = np.linalg.svd(columns, full_matrices=False)
    basis = vectors[:, values > 1e-9 * values.max(initial=0)]
    return Control(basis, len(sizes) - basis.shape[1] - 1)


def beyond_compute(
    x: np.ndarray,
    y: np.ndarray,
    given: Control,
    sizes: np.ndarray,
    alpha: float,
    replicates: int,
    rng: np.random.Generator,
) -> Correlation:
    """The partial correlation of x and y (n,): Student's t, Fisher's interval, and a permutation of residuals.

    t = r sqrt(df / (1 - r^2)). The interval is that of Fisher's z with standard error 1 / sqrt(df - 1). `p_permutation` is
    the share of permutations of y's residuals within sizes, rid of the control again, at least as far from 0.
    """
    from scipy.stats import norm, t

    row = Correlation(len(x), len(np.unique(sizes)), df=given.df)
    if given.df < FEWEST_DF:
        return row.lacking(
            f"{counted(max(given.df, 0), 'degree')} of freedom beyond size and tokens; this needs {FEWEST_DF}"
        )
    left_x, left_y = given.residuals(x), given.residuals(y)
    if not (left_x.any() and left_y.any()):
        return row.lacking("size and tokens leave nothing of one side", "unidentified")
    r = float(pearson(left_x, left_y))
    if abs(r) > 1 - 1e-12:
        return row.lacking("beyond size and tokens the two sides are one", "unidentified")
    half = norm.ppf(1 - alpha / 2) / np.sqrt(given.df - 1)
    low, high = np.tanh(np.arctanh(r) - half), np.tanh(np.arctanh(r) + half)
    p = 2 * float(t.sf(abs(r) * np.sqrt(given.df / (1 - r * r)), given.df))
    shuffled = np.tile(left_y, (replicates, 1))
    for size in np.unique(sizes):
        rows = np.flatnonzero(sizes == size)
        shuffled[:, rows] = rng.permuted(shuffled[:, rows], axis=1)
    extreme = np.abs(pearson(left_x, given.residuals(shuffled))) >= abs(r) - 1e-9
    permuted = (1 + int(extreme.sum())) / (1 + replicates)
    return replace(row, value=r, low=float(low), high=float(high), p=p, p_permutation=permuted, status="ok")

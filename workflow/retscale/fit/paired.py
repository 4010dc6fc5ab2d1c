"""Paired tests of two encoders that answered the same queries."""

import numpy as np

FEW = 300  # queries below which signs are flipped; above, the mean of differences is as good as normal


def paired_p(differences: np.ndarray, replicates: int, rng: np.random.Generator) -> tuple[float | None, str]:
    """Two-sided p of no difference, and the test that it is by, of differences (queries,) between two encoders.

    Below FEW queries: if the two are alike, each difference has either sign, so the share of sign flips whose mean is at
    least as far from 0, all of them where there are at most `replicates`. Otherwise Student's paired t. Smucker et al.
    2007 compare the two for retrieval.
    """
    n = len(differences)
    if n < 2:
        return None, ""
    if n >= FEW:
        from scipy.stats import ttest_1samp

        spread = float(np.ptp(differences)) > 0
        return (float(ttest_1samp(differences, 0).pvalue) if spread else float(differences[0] == 0)), "paired t"
    exact = 2**n <= replicates
    if exact:
        signs = 1 - 2 * (np.arange(2**n)[:, None] >> np.arange(n) & 1)
    else:
        signs = rng.integers(0, 2, (replicates, n)) * 2 - 1
    extreme = int((np.abs(signs @ differences) >= abs(differences.sum()) - 1e-9).sum())
    return (extreme / 2**n if exact else (1 + extreme) / (1 + replicates)), "sign flips"


def bootstrap_p(drawn: np.ndarray) -> float:
    """Two-sided p of no difference, of resampled differences (replicates,) of a mean whose tasks are strata."""
    fewer = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    return min(1.0, 2 * (1 + fewer) / (1 + len(drawn)))

"""Variance components of nested repeats by analysis of variance: trainings, their pretrainings, and checkpoints.

Every level adds a normal effect to a score, and the sample of queries adds noise. The expectation of a level's mean
square is its component, plus the part of queries, plus a share of the component below. The part of queries is known from
resampled scores far better than any component that rests on a few seeds, so it counts as known.
"""

from dataclasses import dataclass

import numpy as np

QUANTILES = 400  # nodes of each mean square's distribution, where two enter an interval


@dataclass(frozen=True)
class Component:
    """A `variance`, at least 0, with its interval, from a `mean_square` with `df`; `known` is the part of other sources."""

    variance: float
    low: float
    high: float
    mean_square: float
    df: int
    known: float


def component(
    mean_square: float,
    df: int,
    known: float,
    alpha: float,
    below: Component | None = None,
    share: float = 0.0,
) -> Component:
    """The component `mean_square` - `known` - `share` x the component `below`.

    Its 1 - alpha interval takes each mean square as its value times df / chi²(df): exact for one mean square, and the
    generalized interval of Weerahandi (1993) for two.
    """
    from scipy.stats import chi2

    if below is None:
        ends = mean_square * df / chi2.ppf([1 - alpha / 2, alpha / 2], df) - known
        return Component(max(0.0, mean_square - known), *map(float, np.maximum(ends, 0)), mean_square, df, known)
    nodes = (np.arange(QUANTILES) + 0.5) / QUANTILES
    above = mean_square * df / chi2.ppf(nodes, df) - known
    under = np.maximum(0, below.mean_square * below.df / chi2.ppf(nodes, below.df) - below.known)
    ends = np.quantile(above[:, None] - share * under, [alpha / 2, 1 - alpha / 2])
    variance = max(0.0, mean_square - known - share * below.variance)
    return Component(variance, *map(float, np.maximum(ends, 0)), mean_square, df, known + share * below.variance)


def between(groups: list[np.ndarray]) -> tuple[float, int]:
    """The sum of squares of each group's values (m,) from their mean, over all groups, and its degrees of freedom."""
    squares = sum(float(((values - values.mean()) ** 2).sum()) for values in groups)
    return squares, sum(len(values) - 1 for values in groups)


def query_share(groups: list[np.ndarray]) -> float:
    """The part of queries in the sum of squares of `between`, from `groups` of resampled scores (replicates, m)."""
    return sum(float((drawn - drawn.mean(1, keepdims=True)).var(0).sum()) for drawn in groups)

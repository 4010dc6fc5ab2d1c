"""Correlation coefficients with intervals that resample whole sizes, and permutation tests that keep sizes whole."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import permutations
from math import factorial, prod

import numpy as np

from retscale.fit.constant import ROUNDING, constant

FEWEST = 3
INTERVAL_SIZES = 6  # resamples of fewer sizes repeat each other, and intervals from them cover far too little


@dataclass(frozen=True)
class Correlation:
    """One coefficient; fields are None where nothing may be claimed. `df` and `p_permutation`: of partial ones only."""

    n: int
    sizes: int
    df: int | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_permutation: float | None = None
    status: str = "insufficient"
    reason: str = ""

    def lacking(self, reason: str, status: str = "insufficient") -> "Correlation":
        return replace(self, status=status, reason=reason)


def pearson(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Of the last axis; nan where either side is constant (to rounding)."""
    x, y = x - x.mean(-1, keepdims=True), y - y.mean(-1, keepdims=True)
    scale = np.sqrt((x**2).sum(-1) * (y**2).sum(-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(scale > 1e-15, np.clip((x * y).sum(-1) / scale, -1, 1), np.nan)


def spearman(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Pearson of the mid-ranks."""
    from scipy.stats import rankdata

    return pearson(rankdata(x, axis=-1), rankdata(y, axis=-1))


def kendall(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Tau-b, the version for ties."""
    a = np.sign(x[..., :, None] - x[..., None, :])
    b = np.sign(y[..., :, None] - y[..., None, :])
    scale = np.sqrt(np.abs(a).sum((-2, -1)) * np.abs(b).sum((-2, -1)))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(scale > 0, (a * b).sum((-2, -1)) / scale, np.nan)


METHODS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "pearson": pearson,
    "spearman": spearman,
    "kendall": kendall,
}


def blocks(groups: np.ndarray) -> list[np.ndarray]:
    """Rows that may be exchanged if the two sides have nothing to do with each other, but sizes have effects.

    Those of a size; of sizes that have one checkpoint each, all.
    """
    if len(np.unique(groups)) == len(groups):
        return [np.arange(len(groups))]
    return [rows for group in np.unique(groups) if len(rows := np.flatnonzero(groups == group)) > 1]


def orders(
    exchangeable: list[np.ndarray], n: int, replicates: int, rng: np.random.Generator
) -> tuple[np.ndarray, bool]:
    """Permutations of n within blocks: all of them where there are at most `replicates` (exact), else a sample."""
    if (
        all(len(rows) <= 12 for rows in exchangeable)
        and prod(factorial(len(rows)) for rows in exchangeable) <= replicates
    ):
        table = np.arange(n)[None]
        for rows in exchangeable:
            every = np.array(list(permutations(rows)))
            table = np.repeat(table, len(every), axis=0)
            table[:, rows] = np.tile(every, (len(table) // len(every), 1))
        return table, True
    table = np.tile(np.arange(n), (replicates, 1))
    for rows in exchangeable:
        table[:, rows] = rng.permuted(table[:, rows], axis=1)
    return table, False


def permutation_p(
    statistic: Callable, x: np.ndarray, y: np.ndarray, groups: np.ndarray, replicates: int, rng: np.random.Generator
) -> float | None:
    """Two-sided: the share of permutations within `blocks` at least as far from 0, the observed one counted.

    The statistic is of what lies within sizes: a size's mean is taken off, of ranks with rank statistics. Comparing
    whole values would find sizes that differ. None where no two rows can be exchanged.
    """
    exchangeable = blocks(groups)
    if not exchangeable:
        return None
    if len(exchangeable) > 1 or len(exchangeable[0]) < len(x):
        x, y = centered(x, groups), centered(y, groups)
    order, exact = orders(exchangeable, len(x), replicates, rng)
    observed = abs(float(statistic(x, y)))
    if not np.isfinite(observed):
        return None
    extreme = int((np.abs(statistic(np.broadcast_to(x, order.shape), y[order])) >= observed - ROUNDING).sum())
    return extreme / len(order) if exact else (extreme + 1) / (len(order) + 1)


def centered(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Values (n,) without the mean of their group, exactly 0 where a group is constant."""
    left = values.copy()
    for group in np.unique(groups):
        rows = groups == group
        left[rows] = 0 if constant(values[rows]) else values[rows] - values[rows].mean()
    return left


def size_bootstrap(
    statistic: Callable, columns: list[np.ndarray], groups: np.ndarray, replicates: int, rng: np.random.Generator
) -> np.ndarray:
    """The statistic of resamples of whole groups, without those in which it does not exist.

    Each distinct resample is computed once: of few groups there are few.
    """
    n_groups = int(groups.max()) + 1
    counts = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=replicates)
    if statistic is pearson:
        values = _pearson_of_sums(counts, *columns, groups)
        return values[np.isfinite(values)]
    distinct, times = np.unique(counts, axis=0, return_counts=True)
    values = []
    for weights, repeat in zip(distinct, times, strict=True):
        rows = np.repeat(np.arange(len(groups)), weights[groups])
        values += [float(statistic(*(column[rows] for column in columns)))] * int(repeat)
    values = np.array(values)
    return values[np.isfinite(values)]


def _pearson_of_sums(counts: np.ndarray, x: np.ndarray, y: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Pearson's r of each resample of groups, counts (replicates, groups), from the groups' sums."""
    x, y = x - x.mean(), y - y.mean()
    sums = np.stack([np.bincount(groups, values) for values in (np.ones(len(x)), x, y, x * x, y * y, x * y)], 1)
    n, sx, sy, sxx, syy, sxy = (counts @ sums).T
    scale = np.sqrt(np.maximum((sxx - sx * sx / n) * (syy - sy * sy / n), 0))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(scale > 1e-15, np.clip((sxy - sx * sy / n) / scale, -1, 1), np.nan)


def correlate(
    x: np.ndarray,
    y: np.ndarray,
    groups: np.ndarray,
    method: str,
    alpha: float,
    replicates: int,
    rng: np.random.Generator,
) -> Correlation:
    """A coefficient of METHODS between x and y (n,), whose sizes are `groups`.

    The interval is of percentiles over resampled sizes, from INTERVAL_SIZES on. None has zero width: where every resample
    gives one value, the ladder is too regular to resample.
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("a correlation needs finite values")
    row = Correlation(len(x), len(np.unique(groups)))
    if row.n < FEWEST:
        return row.lacking(f"too few checkpoints ({row.n}); this coefficient needs {FEWEST}")
    if constant(x) or constant(y):
        return row.lacking("the values of one side are all equal", "unidentified")
    coefficient = METHODS[method]
    p = permutation_p(coefficient, x, y, groups, replicates, rng)
    row = replace(row, value=float(coefficient(x, y)), p=p, status="ok")
    if row.sizes < INTERVAL_SIZES:
        return replace(row, reason=f"too few sizes for an interval ({row.sizes}; it needs {INTERVAL_SIZES})")
    values = size_bootstrap(coefficient, [x, y], groups, replicates, rng)
    low, high = np.quantile(values, [alpha / 2, 1 - alpha / 2])
    if high - low < ROUNDING:
        return replace(row, reason="every resample of sizes has the same value, so there is no interval")
    return replace(row, low=float(low), high=float(high))

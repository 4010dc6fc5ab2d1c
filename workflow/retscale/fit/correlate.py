"""Correlation coefficients with intervals that resample whole sizes, and permutation tests."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations
from math import factorial

import numpy as np

FEWEST = 3
INTERVAL_SIZES = 3  # with one or two sizes, resampling sizes says nothing
ROUNDING = 1e-9  # a permuted statistic this near to the observed one is as extreme


@dataclass(frozen=True)
class Correlation:
    """One coefficient; fields are None where nothing may be claimed."""

    n: int
    sizes: int
    value: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    status: str = "insufficient"
    reason: str = ""


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


def residuals(values: np.ndarray, control: np.ndarray) -> np.ndarray:
    """What a straight line over `control` leaves of `values`."""
    centered = control - control.mean()
    square = centered @ centered
    return values - values.mean() - (centered * (values @ centered / square) if square > 0 else 0)


def orders(n: int, replicates: int, rng: np.random.Generator) -> tuple[np.ndarray, bool]:
    """Permutations of n: all of them where there are at most `replicates` (exact), else a sample."""
    if n <= 12 and factorial(n) <= replicates:
        return np.array(list(permutations(range(n)))), True
    return rng.permuted(np.tile(np.arange(n), (replicates, 1)), axis=1), False


def permutation_p(
    statistic: Callable, x: np.ndarray, y: np.ndarray, replicates: int, rng: np.random.Generator
) -> float:
    """Two-sided: the share of permutations at least as far from 0, the observed one counted."""
    order, exact = orders(len(x), replicates, rng)
    observed = abs(float(statistic(x, y)))
    extreme = int((np.abs(statistic(np.broadcast_to(x, order.shape), y[order])) >= observed - ROUNDING).sum())
    return extreme / len(order) if exact else (extreme + 1) / (len(order) + 1)


def size_bootstrap(
    statistic: Callable, columns: list[np.ndarray], groups: np.ndarray, replicates: int, rng: np.random.Generator
) -> np.ndarray:
    """The statistic of resamples of whole groups, without those in which it does not exist.

    Each distinct resample is computed once: of few groups there are few.
    """
    n_groups = int(groups.max()) + 1
    counts = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=replicates)
    distinct, times = np.unique(counts, axis=0, return_counts=True)
    values = []
    for weights, repeat in zip(distinct, times, strict=True):
        rows = np.repeat(np.arange(len(groups)), weights[groups])
        values += [float(statistic(*(column[rows] for column in columns)))] * int(repeat)
    values = np.array(values)
    return values[np.isfinite(values)]


def correlate(
    x: np.ndarray,
    y: np.ndarray,
    groups: np.ndarray,
    method: str,
    alpha: float,
    replicates: int,
    rng: np.random.Generator,
    control: np.ndarray | None = None,
) -> Correlation:
    """A coefficient of METHODS between x and y; with `control`, of what is left of both after a line over it."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("a correlation needs finite values")
    n, sizes = len(x), int(groups.max()) + 1 if len(groups) else 0
    needed = FEWEST + (control is not None)
    if n < needed:
        return Correlation(n, sizes, reason=f"too few checkpoints ({n}); this coefficient needs {needed}")
    coefficient = METHODS[method]

    def statistic(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
        return coefficient(residuals(a, c), residuals(b, c))

    if control is None:
        value, operands = float(coefficient(x, y)), (x, y)
    else:
        value, operands = float(statistic(x, y, control)), (residuals(x, control), residuals(y, control))
    if np.ptp(x) == 0 or np.ptp(y) == 0 or not np.isfinite(value):
        return Correlation(n, sizes, status="unidentified", reason="the values of one side are all equal")
    p = permutation_p(coefficient, *operands, replicates, rng)
    if sizes < INTERVAL_SIZES:
        return Correlation(
            n,
            sizes,
            value,
            p=p,
            status="ok",
            reason=f"too few sizes for an interval ({sizes}; it needs {INTERVAL_SIZES})",
        )
    columns = [x, y] if control is None else [x, y, control]
    values = size_bootstrap(coefficient if control is None else statistic, columns, groups, replicates, rng)
    low, high = np.quantile(values, [alpha / 2, 1 - alpha / 2])
    return Correlation(n, sizes, value, float(low), float(high), p, "ok")

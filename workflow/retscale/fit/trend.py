"""Log-linear trends y = a + b (log10 C - centre), with intervals that know that checkpoints are nested in sizes."""

from dataclasses import dataclass, replace

import numpy as np

FEWEST = 3  # below this a trend is a drawing, not an estimate
MIXED_FROM = 5  # checkpoints from which variance components are worth separating
MIXED_SIZES = 3  # the components need at least one degree of freedom between sizes
DECADES = 1.0  # over less compute than this the slope is not identified in practice


@dataclass(frozen=True)
class Trend:
    """An estimate with its interval; fields are None where nothing may be claimed. `slope` is per decade of C."""

    n: int
    sizes: int
    decades: float
    centre: float | None = None
    intercept: float | None = None
    slope: float | None = None
    low: float | None = None
    high: float | None = None
    method: str | None = None
    t_low: float | None = None  # Student's t interval, right only if sizes have no effect of their own: for comparison
    t_high: float | None = None
    sigma: float | None = None  # between checkpoints of a size
    tau: float | None = None  # between sizes
    r2: float | None = None
    status: str = "insufficient"
    reason: str = ""


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
    """Replicates of the two standard deviations, and the checkpoints (x centred, groups) that they belong to."""

    sigma: np.ndarray
    tau: np.ndarray
    x: np.ndarray
    groups: np.ndarray


def ols(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Intercept and slope of y (..., n) on centred x (n,): two arrays (...)."""
    return y.mean(-1), y @ x / (x @ x)


def components(x: np.ndarray, y: np.ndarray, groups: np.ndarray) -> Components | None:
    """Variance components of y ~ x with groups numbered from 0; None where they cannot be told apart.

    Within: residuals of y on x with an effect a group. Between: weighted residuals of the group means on their mean x.
    """
    counts = np.bincount(groups).astype(float)
    mean_x = np.bincount(groups, x) / counts
    mean_y = np.bincount(groups, y) / counts
    dx, dy = x - mean_x[groups], y - mean_y[groups]
    inside = float(dx @ dx)
    df_within = len(x) - len(counts) - (inside > 0)
    df_between = len(counts) - 2
    if len(counts) < MIXED_SIZES or df_within < 1 or np.ptp(mean_x) == 0:
        return None
    slope = dx @ dy / inside if inside > 0 else 0.0
    design = np.column_stack([np.ones_like(mean_x), mean_x])
    gram = np.linalg.inv(design.T @ (counts[:, None] * design))
    line = gram @ design.T @ (counts * mean_y)
    n0 = (len(x) - np.trace(gram @ (design.T @ (counts[:, None] ** 2 * design)))) / df_between
    return Components(
        float(((dy - slope * dx) ** 2).sum()),
        df_within,
        float((counts * (mean_y - design @ line) ** 2).sum()),
        df_between,
        float(n0),
    )


def mixed_bootstrap(
    x: np.ndarray, groups: np.ndarray, found: Components, replicates: int, rng: np.random.Generator
) -> Draws:
    """New variances in each replicate: each sum of squares over a fresh chi-square of its degrees of freedom."""
    sigma2 = found.ss_within / rng.chisquare(found.df_within, replicates)
    between = found.ss_between / rng.chisquare(found.df_between, replicates)
    return Draws(np.sqrt(sigma2), np.sqrt(np.maximum(0, (between - sigma2) / found.n0)), x, groups)


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


def pairs_bootstrap(x: np.ndarray, y: np.ndarray, replicates: int, rng: np.random.Generator) -> np.ndarray:
    """Slopes of resampled checkpoints: the common method, which ignores sizes and is too sure; kept to show that."""
    rows = rng.integers(len(x), size=(replicates, len(x)))
    xs, ys = x[rows], y[rows]
    xs = xs - xs.mean(1, keepdims=True)
    square = (xs**2).sum(1)
    return (xs * ys).sum(1)[square > 0] / square[square > 0]


def numbered(sizes: list[str]) -> np.ndarray:
    """Sizes as integers from 0."""
    return np.unique(np.asarray(sizes, dtype=str), return_inverse=True)[1]


def fit(
    log_flops: np.ndarray, y: np.ndarray, sizes: list[str], alpha: float, replicates: int, rng: np.random.Generator
) -> tuple[Trend, Draws | None]:
    """The trend of y over log10 FLOPs, and its replicates where the mixed bootstrap applies.

    0 to 2 checkpoints, or less than a decade: nothing. 3 or 4, or too few sizes for variance components: Student's t
    interval. Otherwise the mixed parametric bootstrap. Values that are all equal identify no trend.
    """
    from scipy.stats import t as student

    log_flops, y = np.asarray(log_flops, float), np.asarray(y, float)
    if not (np.isfinite(log_flops).all() and np.isfinite(y).all()):
        raise ValueError("a trend needs finite values")
    n, groups = len(y), numbered(sizes)
    base = Trend(n, int(groups.max()) + 1 if n else 0, float(np.ptp(log_flops)) if n else 0.0)
    if n < FEWEST:
        return replace(base, reason=f"too few checkpoints ({n}); a trend needs {FEWEST}"), None
    # Rounding of 6ND must not turn a decade into less than one.
    if base.decades < DECADES - 1e-6:
        return replace(
            base, reason=f"the checkpoints span {base.decades:.2f} decades of FLOPs; a trend needs {DECADES:g}"
        ), None
    if np.ptp(y) == 0:
        return replace(base, status="unidentified", reason="all values are equal"), None
    centre = float(log_flops.mean())
    x = log_flops - centre
    intercept, slope = ols(x, y)
    residual = float(((y - intercept - slope * x) ** 2).sum())
    base = replace(
        base,
        centre=centre,
        intercept=float(intercept),
        slope=float(slope),
        r2=1 - residual / float(((y - y.mean()) ** 2).sum()),
        status="ok",
    )
    sigma = float(np.sqrt(residual / (n - 2)))
    half = float(student.ppf(1 - alpha / 2, n - 2)) * sigma / float(np.sqrt(x @ x))
    base = replace(base, t_low=float(slope - half), t_high=float(slope + half))
    found = components(x, y, groups) if n >= MIXED_FROM else None
    if found is None:
        why = f"effects of size cannot be told from noise (checkpoints: {n}, sizes: {base.sizes})"
        return replace(base, low=base.t_low, high=base.t_high, method="t", sigma=sigma, reason=why), None
    draws = mixed_bootstrap(x, groups, found, replicates, rng)
    half = float(half_width(draws, x[None] / (x @ x), alpha)[0])
    spread = {"sigma": float(np.sqrt(found.sigma2())), "tau": float(np.sqrt(found.tau2()))}
    why = "one degree of freedom between 3 sizes makes the interval wide" if found.df_between == 1 else ""
    return replace(
        base, low=float(slope) - half, high=float(slope) + half, method="mixed bootstrap", reason=why, **spread
    ), draws


def bands(
    trend: Trend, draws: Draws | None, log_flops: np.ndarray, grid: np.ndarray, alpha: float
) -> dict[str, np.ndarray]:
    """The line over `grid` (log10 FLOPs), the confidence band of the line and the prediction band of a new checkpoint.

    The new checkpoint is one of a new size. `log_flops` are the fitted checkpoints'. The trend must be `ok`.
    """
    at, x = grid - trend.centre, log_flops - trend.centre
    line = trend.intercept + trend.slope * at
    weights = 1 / trend.n + np.outer(at, x) / (x @ x)
    if draws is None:
        from scipy.stats import t as student

        factor = student.ppf(1 - alpha / 2, trend.n - 2) * trend.sigma
        leverage = (weights**2).sum(1)
        confidence, prediction = factor * np.sqrt(leverage), factor * np.sqrt(1 + leverage)
    else:
        confidence, prediction = half_width(draws, weights, alpha), half_width(draws, weights, alpha, new=True)
    ends = [line - confidence, line + confidence, line - prediction, line + prediction]
    names = ("confidence_low", "confidence_high", "prediction_low", "prediction_high")
    return {"y": line, **dict(zip(names, ends, strict=True))}

"""Trends of a form over compute, with intervals that know that checkpoints are nested in sizes."""

from dataclasses import dataclass, replace

import numpy as np

from retscale.fit.forms import Form
from retscale.fit.variance import Draws, components, half_width, mixed_bootstrap, remainder

MIXED_FROM = 5  # checkpoints from which variance components are worth separating
DECADES = 1.0  # over less compute than this the growth is not identified in practice


@dataclass(frozen=True)
class Trend:
    """An estimate with its interval; fields are None where nothing may be claimed.

    `slope` is the growth per decade of C, the mean over the fitted checkpoints' range where the form is a curve.
    """

    n: int
    sizes: int
    decades: float
    centre: float | None = None  # mean log10 FLOPs, from which the form's x is counted
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
class Fit:
    """A trend with what its bands are computed from; all else is None unless the trend is `ok`.

    `parameters` (k,) are the form's, `x` (n,) the fitted checkpoints' log10 FLOPs minus the centre. `draws` are the
    replicates where the mixed bootstrap applies.
    """

    form: Form
    trend: Trend
    parameters: np.ndarray | None = None
    x: np.ndarray | None = None
    draws: Draws | None = None


def size_codes(sizes: list[str]) -> np.ndarray:
    """Sizes as integers from 0."""
    return np.unique(np.asarray(sizes, dtype=str), return_inverse=True)[1]


def fit(
    form: Form,
    log_flops: np.ndarray,
    y: np.ndarray,
    sizes: list[str],
    alpha: float,
    replicates: int,
    rng: np.random.Generator,
) -> Fit:
    """The trend of y (n,) over log10 FLOPs (n,).

    Fewer checkpoints than one more than the form has parameters, or less than a decade: nothing. Fewer than 5, or too
    few sizes for variance components: Student's t interval. Otherwise the mixed parametric bootstrap. Values that are
    all equal identify no trend. Raises ValueError for values that are not finite.
    """
    log_flops, y = np.asarray(log_flops, float), np.asarray(y, float)
    if not (np.isfinite(log_flops).all() and np.isfinite(y).all()):
        raise ValueError("a trend needs finite values")
    n, groups, fewest = len(y), size_codes(sizes), len(form.parameters) + 1
    base = Trend(n, int(groups.max()) + 1 if n else 0, float(np.ptp(log_flops)) if n else 0.0)
    if n < fewest:
        return Fit(form, replace(base, reason=f"too few checkpoints ({n}); a trend needs {fewest}"))
    # Rounding of 6ND must not turn a decade into less than one.
    if base.decades < DECADES - 1e-6:
        span = f"the checkpoints span {base.decades:.2f} decades of FLOPs; a trend needs {DECADES:g}"
        return Fit(form, replace(base, reason=span))
    if np.ptp(y) == 0:
        return Fit(form, replace(base, status="unidentified", reason="all values are equal"))
    centre = float(log_flops.mean())
    x = log_flops - centre
    parameters = form.estimate(x, y)
    # The linear problem that the parameters solve too; of a form that is linear in them, y is `target`.
    columns = form.gradient(parameters, x)
    target = y - (form.predict(parameters, x) - (columns * parameters).sum(1))
    residual = float((remainder(columns, target, parameters) ** 2).sum())
    slope, weights = form.growth(parameters, x)
    sigma = float(np.sqrt(residual / (n - len(parameters))))
    # A quotient: for the line it is Student's sigma / sqrt(x @ x) to the last digit.
    half = float(student(alpha, n - len(parameters)) * sigma / np.sqrt(1 / (weights @ weights)))
    base = replace(
        base,
        centre=centre,
        slope=float(slope),
        t_low=float(slope - half),
        t_high=float(slope + half),
        r2=1 - residual / float(((y - y.mean()) ** 2).sum()),
        status="ok",
    )
    variance = components(columns, target, groups) if n >= MIXED_FROM else None
    if variance is None:
        reason = f"effects of size cannot be told from noise (checkpoints: {n}, sizes: {base.sizes})"
        trend = replace(base, low=base.t_low, high=base.t_high, method="t", sigma=sigma, reason=reason)
        return Fit(form, trend, parameters, x)
    draws = mixed_bootstrap(groups, variance, replicates, rng)
    half = float(half_width(draws, weights[None], alpha)[0])
    reason = (
        f"one degree of freedom between {base.sizes} sizes makes the interval wide" if variance.df_between == 1 else ""
    )
    trend = replace(
        base,
        low=float(slope) - half,
        high=float(slope) + half,
        method="mixed bootstrap",
        sigma=float(np.sqrt(variance.sigma2())),
        tau=float(np.sqrt(variance.tau2())),
        reason=reason,
    )
    return Fit(form, trend, parameters, x, draws)


def bands(fitted: Fit, grid: np.ndarray, alpha: float) -> dict[str, np.ndarray]:
    """The curve over `grid` (log10 FLOPs), its confidence band and the prediction band of a new checkpoint.

    The new checkpoint is one of a new size. The trend must be `ok`.
    """
    x, draws = grid - fitted.trend.centre, fitted.draws
    curve = fitted.form.predict(fitted.parameters, x)
    weights = fitted.form.weights(fitted.parameters, fitted.x, x)
    if draws is None:
        factor = student(alpha, fitted.trend.n - len(fitted.parameters)) * fitted.trend.sigma
        leverage = (weights**2).sum(1)
        confidence, prediction = factor * np.sqrt(leverage), factor * np.sqrt(1 + leverage)
    else:
        confidence, prediction = half_width(draws, weights, alpha), half_width(draws, weights, alpha, new=True)
    ends = [curve - confidence, curve + confidence, curve - prediction, curve + prediction]
    names = ("confidence_low", "confidence_high", "prediction_low", "prediction_high")
    return {"y": curve, **dict(zip(names, ends, strict=True))}


def student(alpha: float, df: int) -> float:
    """Student's t at 1 - alpha / 2."""
    from scipy.stats import t

    return float(t.ppf(1 - alpha / 2, df))

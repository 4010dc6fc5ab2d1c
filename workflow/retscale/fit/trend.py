"""The trend of one form over compute, with intervals that know that checkpoints are nested in sizes."""

from dataclasses import dataclass, replace

import numpy as np

from retscale.common.phrase import counted
from retscale.fit.bands import half_width
from retscale.fit.constant import constant
from retscale.fit.forms import Form
from retscale.fit.ladder import LN10, Compute, Ladder
from retscale.fit.solve import Solution, solve
from retscale.fit.variance import Draws, Prior, components, distribution, needs_prior

DECADES = 1.0  # over less compute than this the growth is not identified in practice
MIXED, PRIOR = "mixed bootstrap", "mixed bootstrap with prior"
FITTED = ("ok", "bound_hit")  # statuses with numbers


@dataclass(frozen=True)
class Trend:
    """An estimate with its interval; fields are None where nothing may be claimed.

    `slope` is the mean growth per decade of C from the least to the most at the ladder's mean tokens per parameter;
    None of a form that cannot grow. `sigma` (between checkpoints of a size) and `tau` (between sizes) are of the data
    alone.
    """

    n: int
    sizes: int
    families: int
    decades: float
    k: int  # parameters, intercepts of further families included
    centre: float | None = None  # mean log10 FLOPs, from which the form's x is counted
    slope: float | None = None
    low: float | None = None
    high: float | None = None
    method: str | None = None
    t_low: float | None = None  # Student's t interval, right only if sizes have no effect of their own: for comparison
    t_high: float | None = None
    sigma: float | None = None
    tau: float | None = None
    df_within: int | None = None
    df_between: int | None = None
    rmse: float | None = None
    r2: float | None = None
    status: str = "insufficient"
    reason: str = ""


@dataclass(frozen=True)
class Fit:
    """A trend with what its bands are computed from; `solution`, `inverse` and `draws` are None unless it is FITTED.

    `inverse` (p, n): how much each score moves each parameter, the pseudo-inverse of the Jacobian's free columns.
    """

    form: Form
    ladder: Ladder
    trend: Trend
    solution: Solution | None = None
    inverse: np.ndarray | None = None
    draws: Draws | None = None

    @property
    def fitted(self) -> bool:
        return self.trend.status in FITTED

    @property
    def parameters(self) -> np.ndarray:
        """The form's own (k,)."""
        return self.solution.parameters[: len(self.form.parameters)]

    def curve(self, at: Compute, families: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The curve (m,) at `at` (m,), and how much each score moves it (m, n), to first order.

        Of the mean family, or of the ladder's `families` (m,).
        """
        own = at.minus(self.ladder.centre)
        mean = np.zeros((len(at.x), self.ladder.n_families - 1))
        contrasts = mean if families is None else self.ladder.contrasts(families)
        y = self.form.predict(self.parameters, own) + contrasts @ self.solution.parameters[len(self.form.parameters) :]
        return y, np.column_stack([self.form.jacobian(self.parameters, own), contrasts]) @ self.inverse

    def interval(self, value: float, weights: np.ndarray, alpha: float) -> tuple[float, float]:
        """Of `value`, which the scores move by `weights` (n,)."""
        half = float(half_width(self.draws, weights[None], alpha)[0])
        return float(value) - half, float(value) + half


def fit(form: Form, ladder: Ladder, alpha: float, prior: Prior, decades: float = DECADES) -> Fit:
    """The trend of a form over a ladder, or why there is none.

    Needs what the form says it needs, one checkpoint more than parameters, `decades` of FLOPs, and scores that are not
    all equal. Intervals: the mixed parametric bootstrap, with fresh variance components in each replicate; those
    between sizes have a prior where few sizes say little of them.
    """
    base = Trend(
        n=len(ladder),
        sizes=ladder.n_sizes,
        families=ladder.n_families,
        decades=ladder.decades,
        k=len(form.parameters) + max(ladder.n_families - 1, 0),
    )
    if lack := missing(form, ladder, decades):
        return Fit(form, ladder, replace(base, reason=lack))
    if constant(ladder.y):
        return Fit(form, ladder, replace(base, status="unidentified", reason="all values are equal"))
    solution = solve(form, ladder)
    if solution.status not in FITTED:
        return Fit(form, ladder, replace(base, status=solution.status, reason=solution.reason))
    root = np.sqrt(ladder.precision)
    free, left = root[:, None] * solution.jacobian[:, solution.free], root * solution.residuals
    inverse = np.zeros((len(solution.free), len(ladder)))
    inverse[solution.free] = np.linalg.pinv(free) * root
    variance = components(solution.jacobian[:, solution.free], solution.residuals, ladder.groups, ladder.precision)
    squares, weight = float(left @ left), float(ladder.precision.sum())
    mean = float((ladder.precision * ladder.y).sum() / weight)
    base = replace(
        base,
        centre=float(ladder.centre.x) / LN10,
        sigma=variance.sigma,
        tau=variance.tau,
        df_within=variance.df_within,
        df_between=variance.df_between,
        rmse=float(np.sqrt(squares / weight)),
        r2=1 - squares / float((ladder.precision * (ladder.y - mean) ** 2).sum()),
        status=solution.status,
        method=PRIOR if needs_prior(variance) else MIXED,
        reason=solution.reason,
    )
    result = Fit(form, ladder, base, solution, inverse, distribution(variance, prior, ladder.groups, ladder.precision))
    return result if form.name == "constant" else replace(result, trend=_growth(result, alpha))


def missing(form: Form, ladder: Ladder, decades: float) -> str:
    """What the ladder lacks for a form, or nothing."""
    n, needed = len(ladder), max(form.checkpoints, len(form.parameters) + max(ladder.n_families - 1, 0) + 1)
    if n < needed:
        return f"too few checkpoints ({n}); this form needs {needed}"
    if ladder.n_sizes < form.sizes:
        return f"too few sizes ({ladder.n_sizes}); this form needs {form.sizes}"
    if ladder.varied < form.varied:
        return f"tokens per parameter vary in {counted(ladder.varied, 'size')}; this form needs {form.varied}"
    # Rounding of 6ND must not turn a decade into less than one.
    if ladder.decades < decades - 1e-6:
        return f"the checkpoints span {ladder.decades:.2f} decades of FLOPs; a trend needs {decades:g}"
    return ""


def _growth(result: Fit, alpha: float) -> Trend:
    """With the slope and its intervals."""
    from scipy.stats import t

    ladder, trend = result.ladder, result.trend
    ends, weights = result.curve(ladder.path(np.array([ladder.at.x.min(), ladder.at.x.max()])))
    slope, weights = (ends[1] - ends[0]) / trend.decades, (weights[1] - weights[0]) / trend.decades
    low, high = result.interval(slope, weights, alpha)
    df = trend.n - trend.k
    sigma = float(np.sqrt(trend.rmse**2 * trend.n / df))
    half = float(t.ppf(1 - alpha / 2, df)) * sigma * float(np.sqrt(weights @ weights))
    return replace(
        trend,
        slope=float(slope),
        low=low,
        high=high,
        t_low=float(slope) - half,
        t_high=float(slope) + half,
    )


def bands(result: Fit, at: Compute, alpha: float, within: tuple[float, float]) -> dict[str, np.ndarray]:
    """The curve at `at` (m,), its confidence band and the prediction band of a new checkpoint of a new size.

    All lie `within` the range of the metric. The trend must be FITTED.
    """
    y, weights = result.curve(at)
    confidence = half_width(result.draws, weights, alpha)
    prediction = half_width(result.draws, weights, alpha, new=True)
    ends = [y, y - confidence, y + confidence, y - prediction, y + prediction]
    names = ("y", "confidence_low", "confidence_high", "prediction_low", "prediction_high")
    return {name: np.clip(values, *within) for name, values in zip(names, ends, strict=True)}

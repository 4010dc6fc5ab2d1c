"""Equal compute: whether, at the same FLOPs, it matters how they are split between parameters and tokens."""

from dataclasses import asdict, dataclass, fields, replace

import numpy as np
import pandas as pd

from retscale.collect.means import MEAN
from retscale.common.phrase import counted
from retscale.fit.constant import ROUNDING, constant
from retscale.fit.ladder import LN10, Ladder, ladder_of
from retscale.fit.reml import Reml, reml
from retscale.fit.rules import MARGIN, OPEN, REFUTED, SUPPORTED

FEWEST, FEWEST_SIZES, FEWEST_VARIED = 12, 4, 3  # checkpoints, sizes, and sizes of which the tokens vary
DECADES = 1.0


@dataclass(frozen=True)
class EqualCompute:
    """`delta`, score per decade of tokens per parameter at fixed FLOPs; None where nothing may be claimed.

    `low` and `high` bound the 1 - alpha interval, `tost_low` and `tost_high` that of 1 - 2 alpha, which lies within a
    margin exactly when two one-sided tests at alpha reject both ends of it. `growth`: score per decade of FLOPs at
    fixed tokens per parameter; `curvature`: per squared decade.
    """

    n: int
    sizes: int
    families: int
    delta: float | None = None
    low: float | None = None
    high: float | None = None
    tost_low: float | None = None
    tost_high: float | None = None
    df: int | None = None
    verdict: str = OPEN
    growth: float | None = None
    growth_low: float | None = None
    growth_high: float | None = None
    curvature: float | None = None
    curvature_low: float | None = None
    curvature_high: float | None = None
    sigma: float | None = None
    tau: float | None = None
    method: str = "REML, Student's t"
    status: str = "insufficient"
    reason: str = ""


def columns(ladder: Ladder) -> np.ndarray:
    """1, the families' contrasts, x, x^2 and the ratio, log10 and centered (n, families + 3)."""
    at = ladder.at.minus(ladder.centre)
    x, ratio = at.x / LN10, (at.d - at.n) / LN10
    return np.column_stack([np.ones(len(x)), ladder.contrasts(), x, x**2, ratio])


def degrees(ladder: Ladder) -> int:
    """sizes - families - 1: what sizes leave of a line in FLOPs with an intercept a family. With one family S - 2."""
    return ladder.n_sizes - ladder.n_families - 1


def lacks(ladder: Ladder) -> tuple[str, str] | None:
    """Status and reason, where the model cannot be fitted."""
    if len(ladder) < FEWEST or ladder.n_sizes < FEWEST_SIZES:
        here = f"{counted(len(ladder), 'checkpoint')} of {counted(ladder.n_sizes, 'size')}"
        return "insufficient", f"{here}; this needs {FEWEST} of {FEWEST_SIZES}"
    if ladder.varied < FEWEST_VARIED:
        return "insufficient", f"tokens vary in {counted(ladder.varied, 'size')}; this needs {FEWEST_VARIED}"
    if ladder.decades < DECADES - 1e-6:
        return "insufficient", f"the checkpoints span {ladder.decades:.2f} decades of FLOPs; this needs {DECADES:g}"
    if degrees(ladder) < 1:
        here = f"{ladder.n_sizes} sizes of {counted(ladder.n_families, 'family')}"
        return "insufficient", f"{here} leave no degree of freedom"
    if constant(ladder.y):
        return "unidentified", "all values are equal"
    scaled = columns(ladder)
    if np.linalg.matrix_rank(scaled / np.linalg.norm(scaled, axis=0), tol=1e-8) < scaled.shape[1]:
        return "unidentified", "FLOPs and tokens per parameter do not vary apart"
    return None


def equal_compute(ladder: Ladder, alpha: float) -> EqualCompute:
    """The model y = b0_family + b1 x + b2 x^2 + delta ratio + u_size + e, by REML, with Student's t.

    Assumes that sizes are a sample of sizes with normal effects, and that growth is at most a parabola in log FLOPs.
    """
    row = EqualCompute(len(ladder), ladder.n_sizes, ladder.n_families)
    if lack := lacks(ladder):
        return replace(row, status=lack[0], reason=lack[1])
    design, df = columns(ladder), degrees(ladder)
    fitted = reml(design, ladder.y[None], ladder.groups, ladder.precision)
    sigma, tau = float(fitted.sigma[0]), float(fitted.tau[0])
    if sigma <= ROUNDING * max(1.0, np.abs(ladder.y).max()):
        return replace(row, status="unidentified", reason="the model passes through every point")
    growth, curvature, delta = np.eye(design.shape[1])[-3:]
    value, low, high = interval(fitted, delta, df, alpha)
    _, tost_low, tost_high = interval(fitted, delta, df, 2 * alpha)
    grows, growth_low, growth_high = interval(fitted, growth, df, alpha)
    curves, curvature_low, curvature_high = interval(fitted, curvature, df, alpha)
    reason = "no effect of size beyond the noise of checkpoints" if tau == 0 else ""
    return replace(
        row,
        delta=float(value[0]),
        low=float(low[0]),
        high=float(high[0]),
        tost_low=float(tost_low[0]),
        tost_high=float(tost_high[0]),
        df=df,
        verdict=str(judge(low, high, tost_low, tost_high)[0]),
        growth=float(grows[0]),
        growth_low=float(growth_low[0]),
        growth_high=float(growth_high[0]),
        curvature=float(curves[0]),
        curvature_low=float(curvature_low[0]),
        curvature_high=float(curvature_high[0]),
        sigma=sigma,
        tau=tau,
        status="ok",
        reason=reason,
    )


def interval(fitted: Reml, contrast: np.ndarray, df: int, alpha: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """contrast (k,) @ beta of each response, and its 1 - alpha interval: three arrays (r,)."""
    from scipy.stats import t

    value = fitted.beta @ contrast
    half = t.ppf(1 - alpha / 2, df) * np.sqrt(contrast @ fitted.covariance @ contrast)
    return value, value - half, value + half


def judge(low: np.ndarray, high: np.ndarray, tost_low: np.ndarray, tost_high: np.ndarray) -> np.ndarray:
    """Verdicts on delta: supported where the 1 - 2 alpha interval lies within the margin, not supported where that of
    1 - alpha lies wholly outside. The one is part of the other, so that both cannot be.
    """
    inside, outside = (-MARGIN < tost_low) & (tost_high < MARGIN), (low > MARGIN) | (high < -MARGIN)
    return np.where(inside, SUPPORTED, np.where(outside, REFUTED, OPEN))


GLOBAL_COLUMNS = ["recipe", "task", "headline", *(field.name for field in fields(EqualCompute))]


def isoflop_global(points: pd.DataFrame, alpha: float) -> pd.DataFrame:
    """One row per recipe and task (and mean), over the finished checkpoints of the ladder."""
    rows = [
        {"recipe": recipe, "task": task, "headline": task == MEAN} | asdict(equal_compute(ladder_of(group), alpha))
        for (recipe, task), group in points[points["schedule"] == "finished"].groupby(["recipe", "task"])
    ]
    return pd.DataFrame(rows, columns=GLOBAL_COLUMNS)

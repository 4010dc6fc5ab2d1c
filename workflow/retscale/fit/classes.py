"""What each task does as compute grows: a test of growth, and a class."""

from dataclasses import asdict, dataclass, fields, replace

import numpy as np
import pandas as pd

from retscale.collect.means import MEAN
from retscale.fit.analysis import Analysis
from retscale.fit.constant import ROUNDING
from retscale.fit.ladder import LN10
from retscale.fit.multiple import holm
from retscale.fit.trend import Fit
from retscale.fit.variance import Draws

FEWEST = 5  # checkpoints; of fewer the prior says most
MONOTONE, PLATEAU, INVERSE, NOISY, INSUFFICIENT = "monotone", "plateau", "inverse", "noisy", "insufficient"


@dataclass(frozen=True)
class Growth:
    """Of a task's score with log10 FLOPs; None where nothing may be claimed.

    `direction` is the sign of the growth that `p` is of. `query_se`: standard error of that growth over queries.
    """

    n: int
    sizes: int
    direction: int | None = None
    p: float | None = None
    query_se: float | None = None
    curvature: float | None = None
    curvature_low: float | None = None
    curvature_high: float | None = None
    end_slope_low: float | None = None
    end_slope_high: float | None = None
    status: str = "insufficient"
    reason: str = ""


def growth(line: Fit, parabola: Fit, drawn: np.ndarray | None, alpha: float) -> Growth:
    """Of two fits to one ladder, whose resampled scores over queries are `drawn` (replicates, n; None: unknown).

    p = 2 E[Phi(-|slope| / s)] over the draws of the variance components, s^2 being the variance of the slope that they
    give plus that over queries: what the slope's interval just reaches 0 at, queries included.
    """
    row = Growth(line.trend.n, line.trend.sizes)
    if line.trend.status != "ok":
        return replace(row, status=line.trend.status, reason=line.trend.reason)
    if (line.trend.rmse or 0.0) <= ROUNDING:
        return replace(row, status="unidentified", reason="the line passes through every point")
    slope, weights = float(line.parameters[1]), line.inverse[1]
    query = None if drawn is None else float((drawn @ weights).std())
    row = replace(
        row,
        direction=1 if slope > 0 else -1,
        p=p_value(slope, weights, line.draws, query or 0.0),
        query_se=query,
        status="ok",
        reason="the noise of queries is unknown" if query is None else "",
    )
    if parabola.trend.status != "ok":
        return row
    value, bend = float(parabola.parameters[2]), parabola.inverse[2]
    low, high = parabola.interval(value, bend, alpha)
    at = float(parabola.ladder.at.x.max() - parabola.ladder.centre.x) / LN10
    end, rise = parabola.parameters[1] + 2 * at * value, parabola.inverse[1] + 2 * at * bend
    end_low, end_high = parabola.interval(float(end), rise, alpha)
    ends = {"curvature_low": low, "curvature_high": high, "end_slope_low": end_low, "end_slope_high": end_high}
    return replace(row, curvature=value, **ends)


def p_value(value: float, weights: np.ndarray, draws: Draws, query: float) -> float:
    """Two-sided p of 0, of a value that the scores move by `weights` (n,), with the standard error `query` besides."""
    from scipy.special import ndtr

    by_size = np.bincount(draws.groups, weights)
    scale = np.sqrt(
        draws.sigma**2 * (weights / draws.precision @ weights) + draws.tau**2 * (by_size @ by_size) + query**2
    )
    return float(2 * draws.mass @ ndtr(-abs(value) / np.maximum(scale, 1e-300)))


def class_of(row: Growth, p: float, alpha: float) -> str:
    """By p (Holm's) of growth, its direction, and how the parabola bends and ends."""
    if row.status != "ok" or row.n < FEWEST:
        return INSUFFICIENT
    if not p < alpha:
        return NOISY
    if row.direction == -1:
        return INVERSE
    bends = row.curvature_high is not None and row.curvature_high < 0
    return PLATEAU if bends and row.end_slope_low is not None and row.end_slope_low <= 0 else MONOTONE


COLUMNS = ["recipe", "task", "headline", "in_domain", *(field.name for field in fields(Growth))]
COLUMNS.insert(COLUMNS.index("query_se"), "p_holm")
COLUMNS.insert(COLUMNS.index("status"), "class")


def tasks(analyses: list[Analysis], draws: pd.DataFrame, headline: list[str], alpha: float) -> pd.DataFrame:
    """One row per recipe and task, or mean, of finished checkpoints.

    Holm's p is over the tasks of the headline; every other row keeps its own p.
    """
    rows, growths = [], []
    for analysis in analyses:
        if analysis.key["schedule"] == "finished":
            recipe, task = analysis.key["recipe"], analysis.key["task"]
            keys = [(checkpoint, recipe, task) for checkpoint in analysis.checkpoints]
            row = growth(analysis.fit_of("log-linear"), analysis.fit_of("quadratic"), drawn_scores(draws, keys), alpha)
            growths.append(row)
            about = {"recipe": recipe, "task": task, "headline": task == MEAN, "in_domain": analysis.in_domain}
            rows.append(about | asdict(row))
    table = pd.DataFrame(rows, columns=COLUMNS)
    table["p_holm"] = table["p"].astype(float)
    for _, group in table[table["task"].isin(headline)].groupby("recipe"):
        table.loc[group.index, "p_holm"] = holm(group["p"].to_numpy(float))
    table["class"] = [class_of(row, p, alpha) for row, p in zip(growths, table["p_holm"], strict=True)]
    return table


def drawn_scores(draws: pd.DataFrame, keys: list[tuple[str, str, str]]) -> np.ndarray | None:
    """Resampled scores (replicates, n) of each (checkpoint, recipe, task); None where queries are unknown."""
    return draws[keys].to_numpy(float) if all(key in draws.columns for key in keys) else None

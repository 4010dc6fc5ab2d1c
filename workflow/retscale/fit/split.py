"""The variance of a score by source: the sample of queries, the seeds of trainings, and the checkpoint itself."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
import pandas as pd

from retscale.collect.means import MEAN
from retscale.collect.repeats import Repeats
from retscale.fit.analysis import Analysis
from retscale.fit.classes import drawn_scores
from retscale.fit.nested import Component, component
from retscale.fit.points import QueryScores
from retscale.fit.seeds import Load, Noise, Seeds
from retscale.fit.solve import solve
from retscale.fit.trend import Fit
from retscale.fit.variance import components

QUERY, TRAINING, PRETRAINING, CHECKPOINT = "query", "fine-tuning seed", "pretraining seed", "checkpoint"
NOTHING = "no more than the other sources explain"
VARIANCE = ["recipe", "task", "headline", "source", "variance", "low", "high", "sd", "df", "status", "reason"]


@dataclass(frozen=True)
class Spread:
    """The variance of a score over samples of queries, averaged over encoders, with the standard error of this estimate."""

    variance: float
    se: float


def noted(
    tasks: Iterable[QueryScores], repeats: Repeats, spreads: dict[tuple[str, str], Spread]
) -> Iterator[QueryScores]:
    """Yield the same tasks; `spreads` receives the spread of each (recipe, task) on the way."""
    for scores in tasks:
        recipes = [repeats.recipe(recipe) for _, recipe in scores.encoders]
        for recipe in dict.fromkeys(recipes):
            spreads[recipe, scores.task] = spread(scores.values[:, [name == recipe for name in recipes]])
        yield scores


def spread(values: np.ndarray) -> Spread:
    """The spread of scores (queries, encoders), some NaN: s²/n, computed as a mean over queries."""
    counts = (~np.isnan(values)).sum(0)
    n = len(values)
    if n < 2 or counts.min() < 2:
        return Spread(float("nan"), float("nan"))
    squares = (values - np.nanmean(values, 0)) ** 2 / (counts - 1) / counts
    each = np.nansum(squares, 1) * n / values.shape[1]  # whose mean over queries is the variance
    return Spread(float(each.mean()), float(each.std(ddof=1) / np.sqrt(n)))


def of_queries(
    task: str, recipe: str, averaged: dict[str, list[str]], spreads: dict[tuple[str, str], Spread]
) -> Spread:
    """The spread of a task, or of a mean; the parts of a mean have independent queries."""
    if task not in averaged or (recipe, task) in spreads:
        return spreads.get((recipe, task), Spread(float("nan"), float("nan")))
    parts = [of_queries(part, recipe, averaged, spreads) for part in averaged[task]]
    count = len(parts)
    return Spread(
        sum(part.variance for part in parts) / count**2, float(np.sqrt(sum(part.se**2 for part in parts))) / count**2
    )


def variance(
    analyses: list[Analysis],
    draws: pd.DataFrame,
    known: Seeds,
    averaged: dict[str, list[str]],
    spreads: dict[tuple[str, str], Spread],
    alpha: float,
) -> pd.DataFrame:
    """One row per recipe, task (and mean) and source: the source's part of the variance of one training's score.

    `query`: over samples of queries, which all encoders share. The seeds: over trainings of one checkpoint, and over its
    pretrainings. `checkpoint`: over checkpoints of a size around the log-linear trend. The last three exclude the noise of
    queries. Each has its 1 - alpha interval.
    """
    rows = []
    for analysis in analyses:
        if analysis.key["schedule"] != "finished":
            continue
        recipe, task = analysis.key["recipe"], analysis.key["task"]
        drawn = drawn_scores(draws, [(checkpoint, recipe, task) for checkpoint in analysis.checkpoints])
        loads = [known.load(checkpoint, recipe) for checkpoint in analysis.checkpoints]
        parts = {
            QUERY: _query(of_queries(task, recipe, averaged, spreads), alpha),
            TRAINING: _seed(known.of(recipe, task).training, "each checkpoint was fine-tuned with one seed"),
            PRETRAINING: _seed(known.of(recipe, task).pretraining, "each checkpoint was pretrained with one seed"),
            CHECKPOINT: _checkpoint(analysis.fit_of("log-linear"), drawn, loads, known.of(recipe, task), alpha),
        }
        key = {"recipe": recipe, "task": task, "headline": task == MEAN}
        rows += [key | {"source": source} | part for source, part in parts.items()]
    return pd.DataFrame(rows, columns=VARIANCE)


def _query(queries: Spread, alpha: float) -> dict:
    """The interval is of the logarithm, which is nearer to normal."""
    if not queries.variance >= 0:
        return {"status": "insufficient", "reason": "queries are unknown"}
    if queries.variance == 0:
        return _row(0.0, 0.0, 0.0)
    factor = float(np.exp(NormalDist().inv_cdf(1 - alpha / 2) * queries.se / queries.variance))
    return _row(queries.variance, queries.variance / factor, queries.variance * factor)


def _seed(noise: Component | None, lack: str) -> dict:
    if noise is None:
        return {"status": "insufficient", "reason": lack}
    return _row(noise.variance, noise.low, noise.high, noise.df, "" if noise.variance else NOTHING)


def _checkpoint(line: Fit, drawn: np.ndarray | None, loads: list[Load], seeds: Noise, alpha: float) -> dict:
    """The variance between checkpoints of a size that trainings and queries leave in the residuals.

    All checkpoints weigh the same here, so that the coefficients of the mean square depend on no estimate.
    """
    if seeds.training is None:
        return {"status": "insufficient", "reason": "without seeds it cannot be told from the noise of trainings"}
    if line.trend.status != "ok" or not line.trend.df_within:
        few = "too few checkpoints of a size to tell it from the trend"
        return {"status": "insufficient", "reason": line.trend.reason or few}
    ladder = replace(line.ladder, precision=np.ones(len(line.ladder)))
    fitted = solve(line.form, ladder)

    def mean_square(residuals: np.ndarray) -> float:
        part = components(fitted.jacobian, residuals, ladder.groups, ladder.precision)
        return part.ss_within / part.df_within

    # A mean square is a quadratic form, so its expectation is a sum over independent effects: of single scores, or, for
    # queries, of the eigenvectors of their covariance.
    each = [mean_square(one) for one in np.eye(len(ladder))]
    moved = np.linalg.eigh(np.cov(drawn, rowvar=False)) if drawn is not None else ([], np.zeros((len(ladder), 0)))
    known = sum(max(value, 0.0) * mean_square(vector) for value, vector in zip(moved[0], moved[1].T, strict=True))
    if seeds.pretraining:
        known += seeds.pretraining.variance * sum(one * load.pretraining for one, load in zip(each, loads, strict=True))
    share = sum(one * load.training for one, load in zip(each, loads, strict=True))
    left = component(mean_square(fitted.residuals), line.trend.df_within, known, alpha, seeds.training, share)
    return _row(left.variance, left.low, left.high, left.df, "" if left.variance else NOTHING)


def _row(value: float, low: float, high: float, df: int | None = None, reason: str = "") -> dict:
    return {"variance": value, "low": low, "high": high, "sd": value**0.5, "df": df, "status": "ok", "reason": reason}

"""Where the noise of scores comes from, and how reliable differences between checkpoints are."""

import numpy as np
import pandas as pd

from retscale.collect.means import MEAN
from retscale.fit.analysis import Analysis
from retscale.fit.classes import drawn_scores
from retscale.fit.seeds import UNKNOWN, Seeds

NOISE = ["recipe", "task", "headline", "source", "sd", "status", "reason"]
RELIABILITY = [
    "about",
    "recipe",
    "task",
    "headline",
    "n",
    "variance",
    "noise_variance",
    "reliability",
    "status",
    "reason",
]


def noise(analyses: list[Analysis], draws: pd.DataFrame, seeds: Seeds = UNKNOWN) -> pd.DataFrame:
    """One row per recipe, task (and mean) and source: the standard deviation that it gives one score.

    `query`: over resampled queries, mean of the checkpoints. `checkpoint` (within a size, with the noise of queries and
    of the training) and `size`: around the log-linear trend. `seed`: between trainings of a checkpoint with
    several, as seen on these queries; what of it is not theirs stands in the table `variance`.
    """
    rows = []
    for analysis in analyses:
        if analysis.key["schedule"] != "finished":
            continue
        recipe, task = analysis.key["recipe"], analysis.key["task"]
        drawn = drawn_scores(draws, [(checkpoint, recipe, task) for checkpoint in analysis.checkpoints])
        trend, training = analysis.fit_of("log-linear").trend, seeds.of(recipe, task).training
        few = "too few sizes, or checkpoints of a size, to tell the two apart" if trend.status == "ok" else trend.reason
        values = {
            "query": (None if drawn is None else float(drawn.std(0).mean()), "queries are unknown"),
            "seed": (training and training.mean_square**0.5, "each checkpoint was trained with one seed"),
            "checkpoint": (trend.sigma, few),
            "size": (trend.tau, few),
        }
        key = {"recipe": recipe, "task": task, "headline": task == MEAN}
        for source, (sd, reason) in values.items():
            known = {"status": "ok", "reason": ""} if sd is not None else {"status": "insufficient", "reason": reason}
            rows.append(key | {"source": source, "sd": sd} | known)
    return pd.DataFrame(rows, columns=NOISE)


def reliability(
    points: pd.DataFrame,
    draws: pd.DataFrame,
    icl: pd.DataFrame,
    bits: pd.DataFrame,
    main: str,
    seeds: Seeds = UNKNOWN,
) -> pd.DataFrame:
    """1 - noise / variance of the scores of checkpoints: retrieval of each recipe and task, and in-context tasks.

    The noise of retrieval is that of differences: all checkpoints answer the same queries, so what resampled queries do
    to all of them alike is left out; that of seeds is added where it is known. That of an in-context score, or of bits
    per byte, is its squared standard error.
    """
    rows = []
    finished = points[points["schedule"] == "finished"]
    for (recipe, task), group in finished.groupby(["recipe", "task"]):
        drawn = drawn_scores(draws, list(group[["checkpoint", "recipe", "task"]].itertuples(index=False, name=None)))
        apart = None if drawn is None else float((drawn - drawn.mean(1, keepdims=True)).var(0).mean())
        if apart is not None:
            apart += float(np.mean([seeds.variance(checkpoint, recipe, task) for checkpoint in group["checkpoint"]]))
        key = {"about": "retrieval", "recipe": recipe, "task": task, "headline": task == MEAN}
        rows.append(key | _reliability(group["y"].to_numpy(float), apart))
    ladder = set(finished["checkpoint"][finished["recipe"] == main])
    for about, table, value in (("icl", icl, "score"), ("bits", bits, "bits_per_byte")):
        for task, group in table[table["checkpoint"].isin(ladder)].groupby("task"):
            error = (group["stderr"].astype(float) ** 2).mean()
            key = {"about": about, "recipe": "", "task": task, "headline": task == MEAN}
            rows.append(key | _reliability(group[value].to_numpy(float), None if np.isnan(error) else float(error)))
    return pd.DataFrame(rows, columns=RELIABILITY)


def _reliability(y: np.ndarray, noise_variance: float | None) -> dict:
    row = {"n": len(y), "variance": float(y.var(ddof=1)) if len(y) > 1 else None, "noise_variance": noise_variance}
    if row["variance"] is None or noise_variance is None:
        reason = "one checkpoint has no variance" if row["variance"] is None else "the noise of its scores is unknown"
        return row | {"status": "insufficient", "reason": reason}
    if row["variance"] <= noise_variance:
        return row | {"status": "unidentified", "reason": "the checkpoints differ by no more than noise"}
    return row | {"reliability": 1 - noise_variance / row["variance"], "status": "ok", "reason": ""}

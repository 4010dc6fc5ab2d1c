"""From compute to contrastive entropy to score: a description of two steps and of the direct one. No claim rests on it."""

import numpy as np
import pandas as pd

from retscale.collect.means import MEAN, tasks_of
from retscale.collect.summary import StudySummary
from retscale.fit.constant import constant
from retscale.fit.correlate import spearman

FEWEST = 4
COLUMNS = ["recipe", "task", "headline", "step", "n", "slope", "r2", "rmse", "spearman", "status", "reason"]


def two_step(finished: pd.DataFrame, scores: pd.DataFrame, study: StudySummary) -> pd.DataFrame:
    """One row per recipe, task (and mean) and step, each a least-squares line; the mean's entropy is that of its tasks.

    Assumes nothing of the noise, so there are no intervals: `r2` in public data lies anywhere from .12 to .99.
    """
    key = ["checkpoint", "recipe", "task"]
    # Published scores come without it.
    columns = scores.reindex(columns=[*key, "contrastive_entropy"])
    entropy = columns.drop_duplicates(key).set_index(key)["contrastive_entropy"].astype(float)
    rows = []
    for (recipe, task), group in finished.groupby(["recipe", "task"]):
        parts = tasks_of(task, study)
        means = [
            entropy.reindex([(name, recipe, part) for part in parts]).mean(skipna=False) for name in group["checkpoint"]
        ]
        x, middle, y = group["log_flops"].to_numpy(float), np.array(means, float), group["y"].to_numpy(float)
        about = {"recipe": recipe, "task": task, "headline": task == MEAN}
        steps = {"FLOPs to entropy": (x, middle), "entropy to score": (middle, y), "FLOPs to score": (x, y)}
        rows += [about | {"step": step} | line(*sides) for step, sides in steps.items()]
    return pd.DataFrame(rows, columns=COLUMNS)


def line(x: np.ndarray, y: np.ndarray) -> dict:
    """The least-squares line of y (n,) on x (n,)."""
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    if len(x) < FEWEST:
        return {"n": len(x), "status": "insufficient", "reason": f"{len(x)} checkpoints have both; this needs {FEWEST}"}
    if constant(x) or constant(y):
        return {"n": len(x), "status": "unidentified", "reason": "the values of one side are all equal"}
    slope, intercept = np.polyfit(x, y, 1)
    left = y - slope * x - intercept
    r2 = 1 - float(left @ left) / float(((y - y.mean()) ** 2).sum())
    estimates = {"n": len(x), "slope": float(slope), "r2": r2, "rmse": float(np.sqrt((left**2).mean()))}
    return estimates | {"spearman": float(spearman(x, y)), "status": "ok", "reason": ""}

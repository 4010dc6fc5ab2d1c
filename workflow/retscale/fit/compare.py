"""Differences between encoders that answered the same queries, and what size and duration each contribute."""

import numpy as np
import pandas as pd

from retscale.collect.means import MEAN
from retscale.common.phrase import counted


def difference(y: pd.Series, draws: pd.DataFrame, first: tuple, second: tuple, alpha: float) -> dict:
    """second - first, two columns of `draws`, with the paired interval over queries."""
    low, high = np.quantile(draws[second] - draws[first], [alpha / 2, 1 - alpha / 2])
    return {"difference": float(y[second] - y[first]), "low": float(low), "high": float(high)}


def near_pairs(points: pd.DataFrame, draws: pd.DataFrame, near: float, alpha: float) -> pd.DataFrame:
    """Pairs of different size within the ratio `near` of FLOPs: the larger model's mean minus the smaller one's.

    FLOPs are 6ND of the cards, never of labels. The interval is over queries only: it says how sure the difference of
    these two encoders is, not how another pretraining run would turn out.
    """
    rows = []
    y = points.set_index(["checkpoint", "recipe", "task"])["y"]
    means = points[(points["task"] == MEAN) & (points["role"] == "fit") & points["schedule_finished"]]
    for recipe, group in means.groupby("recipe"):
        ordered = group.sort_values(["n_params", "n_tokens", "checkpoint"]).to_dict("records")
        for i, small in enumerate(ordered):
            for large in ordered[i + 1 :]:
                ratio = large["flops"] / small["flops"]
                if small["size"] == large["size"] or not 1 / near <= ratio <= near:
                    continue
                keys = (small["checkpoint"], recipe, MEAN), (large["checkpoint"], recipe, MEAN)
                sides = {
                    f"{name}_{side}": row[name]
                    for side, row in (("small", small), ("large", large))
                    for name in ("checkpoint", "size", "flops", "tokens_per_param", "y")
                }
                rows.append({"recipe": recipe, **sides, "flops_ratio": ratio, **difference(y, draws, *keys, alpha)})
    return pd.DataFrame(rows, columns=PAIR_COLUMNS)


PAIR_COLUMNS = [
    "recipe",
    *(
        f"{name}_{side}"
        for side in ("small", "large")
        for name in ("checkpoint", "size", "flops", "tokens_per_param", "y")
    ),
]
PAIR_COLUMNS += ["flops_ratio", "difference", "low", "high"]


def ablation(points: pd.DataFrame, draws: pd.DataFrame, main: str, alpha: float) -> pd.DataFrame:
    """Every other recipe against the main one on the same checkpoint: the difference of the means, and of each task."""
    rows = []
    y = points.set_index(["checkpoint", "recipe", "task"])["y"]
    for row in points[points["recipe"] != main].itertuples():
        first, second = (row.checkpoint, main, row.task), (row.checkpoint, row.recipe, row.task)
        if first in y.index:
            about = {name: getattr(row, name) for name in ("checkpoint", "size", "flops", "role", "recipe", "task")}
            sides = {"against": main, "y": row.y, "y_against": float(y[first])}
            rows.append(about | sides | difference(y, draws, first, second, alpha))
    columns = [
        "checkpoint",
        "size",
        "flops",
        "role",
        "recipe",
        "task",
        "against",
        "y",
        "y_against",
        "difference",
        "low",
        "high",
    ]
    return pd.DataFrame(rows, columns=columns).sort_values(["recipe", "task", "checkpoint"], ignore_index=True)


def grouped_slope(x: np.ndarray, y: np.ndarray, groups: np.ndarray, alpha: float) -> dict:
    """The common slope of y on x with an intercept per group, with Student's t interval.

    Residuals are taken as independent within groups; n - groups - 1 degrees of freedom.
    """
    from scipy.stats import t as student

    if len(x) == 0:
        return _no_estimate("no group has two checkpoints")
    counts = np.bincount(groups)
    dx, dy = x - (np.bincount(groups, x) / counts)[groups], y - (np.bincount(groups, y) / counts)[groups]
    df, square = len(x) - len(counts) - 1, float(dx @ dx)
    if square == 0 or df < 1:
        too_few = f"{counted(len(x), 'checkpoint')} in {counted(len(counts), 'group')}"
        return _no_estimate(f"{too_few} leave no degree of freedom")
    slope = float(dx @ dy / square)
    residual = float(((dy - slope * dx) ** 2).sum())
    if residual == 0:
        return _no_estimate("the line passes through every point", "unidentified")
    half = float(student.ppf(1 - alpha / 2, df)) * float(np.sqrt(residual / df / square))
    return {"slope": slope, "low": slope - half, "high": slope + half, "df": df, "status": "ok", "reason": ""}


def _no_estimate(reason: str, status: str = "insufficient") -> dict:
    return {"slope": None, "low": None, "high": None, "df": None, "status": status, "reason": reason}


def effects(points: pd.DataFrame, alpha: float) -> pd.DataFrame:
    """The mean's growth in one direction at a time, per decade of FLOPs, for each recipe.

    `size`: along tokens-per-parameter levels of at least two sizes. The sizes are the replicates: the mean over levels
    of each size, centred on its levels, is regressed with sizes - 2 degrees of freedom.
    `tokens`: within sizes of at least two checkpoints.
    """
    rows = []
    means = points[(points["task"] == MEAN) & (points["role"] == "fit") & points["schedule_finished"]]
    for recipe, group in means.groupby("recipe"):
        group = group.assign(x=np.log10(group["flops"].astype(float)))
        rungs = group[group.groupby("level")["size"].transform("nunique") >= 2]
        key = {"recipe": recipe, "direction": "size", "n": len(rungs), "groups": rungs["level"].nunique()}
        rows.append(key | _size_effect(rungs, alpha))
        rungs = group[group.groupby("size")["checkpoint"].transform("size") >= 2]
        codes = np.unique(rungs["size"], return_inverse=True)[1]
        key = {"recipe": recipe, "direction": "tokens", "n": len(rungs), "groups": rungs["size"].nunique()}
        rows.append(key | grouped_slope(rungs["x"].to_numpy(), rungs["y"].to_numpy(), codes, alpha))
    return pd.DataFrame(rows)


def _size_effect(rungs: pd.DataFrame, alpha: float) -> dict:
    if (sizes := rungs["size"].nunique()) < 3:
        too_few = f"{counted(sizes, 'size')} {'shares' if sizes == 1 else 'share'}"
        return _no_estimate(f"{too_few} a level of tokens per parameter; this needs 3")
    centered = rungs.assign(
        x=rungs["x"] - rungs.groupby("level")["x"].transform("mean"),
        y=rungs["y"] - rungs.groupby("level")["y"].transform("mean"),
    )
    by_size = centered.groupby("size")[["x", "y"]].mean()
    return grouped_slope(by_size["x"].to_numpy(), by_size["y"].to_numpy(), np.zeros(len(by_size), int), alpha)

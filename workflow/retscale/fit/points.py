"""The marks that every fit and figure rests on: one score of one encoder, with the uncertainty of its queries."""

import zlib

import numpy as np
import pandas as pd

from retscale.encoder.config import GIVEN

MEAN = "mean"  # the unweighted mean over the headline, beside the names of tasks and groups
LEVEL_TOLERANCE = 1.1  # tokens per parameter within this ratio are one level: token counts are rounded to batches
KEY = ["checkpoint", "recipe", "task"]


def levels(ratios: pd.Series) -> pd.Series:
    """Tokens per parameter, each replaced by the geometric mean of its level, which starts at the least of them."""
    found, first = {}, None
    groups = {}
    for ratio in sorted(set(ratios.dropna())):
        if first is None or ratio > first * LEVEL_TOLERANCE:
            first = ratio
        groups.setdefault(first, []).append(ratio)
    for members in groups.values():
        found |= dict.fromkeys(members, float(np.exp(np.mean(np.log(members)))))
    return ratios.map(found).astype(float)


def means(headline: dict[str, list[str]]) -> dict[str, list[str]]:
    """Each group of tasks with its tasks and then the mean with what it is of: {name: names that stand before it}."""
    groups = {name: parts for name, parts in headline.items() if parts != [name]}
    return groups | {MEAN: list(headline)}


def resampled(
    per_query: pd.DataFrame, metric: str, headline: dict[str, list[str]], replicates: int, seed: int
) -> pd.DataFrame:
    """Bootstrap over queries: replicates x encoders' scores, one column for each (checkpoint, recipe, task).

    A task's queries are drawn once a replicate and shared by all encoders, so that differences of two columns are
    paired; tasks are strata of the means. A task's draws depend on the seed and its own name alone. A mean has a column
    for the encoders that have all its parts.
    """
    parts = []
    for task, rows in per_query.groupby("task"):
        table = rows.pivot(index="query_id", columns=["checkpoint", "recipe"], values=metric).sort_index()
        rng = np.random.default_rng([seed, zlib.crc32(task.encode())])
        n = len(table)
        weights = rng.multinomial(n, np.full(n, 1 / n), size=replicates) / n
        columns = pd.MultiIndex.from_tuples([(*pair, task) for pair in table.columns], names=KEY)
        parts.append(pd.DataFrame(weights @ table.to_numpy(float), columns=columns))
    draws = pd.concat(parts, axis=1)
    for name, averaged in means(headline).items():
        rows = draws.T[draws.columns.get_level_values("task").isin(averaged)].groupby(level=["checkpoint", "recipe"])
        whole = pd.concat({name: rows.mean()[rows.size() == len(averaged)]}, names=["task"]).reorder_levels(KEY)
        draws = pd.concat([draws, whole.T], axis=1)
    return draws


def points(
    scores: pd.DataFrame, draws: pd.DataFrame, headline: dict[str, list[str]], metric: str, alpha: float
) -> pd.DataFrame:
    """One row a checkpoint, recipe and task (and group, and `mean`): y, its interval over queries, and its file.

    A group or mean of which an encoder lacks a part has no y; `missing` names what lacks.
    """
    rows = scores[scores["metric"] == metric].drop(columns=["metric", "n_params_non_embedding", "ties"])
    rows = rows.rename(columns={"value": "y"})
    if rows["family"][rows["recipe"] != GIVEN].nunique() > 1:
        # Two families' models of one nominal size are not replicates of a size.
        rows["size"] = rows["family"] + " " + rows["size"]
    facts = [name for name in rows if name not in ("task", "y", "n_queries", "file", "sha256")]
    table = rows.assign(missing="")
    for name, parts in means(headline).items():
        chosen = table[table["task"].isin(parts)].groupby(facts, dropna=False)
        found = [dict(zip(facts, key, strict=True)) | mean(some, parts) for key, some in chosen]
        rows = pd.DataFrame(found).assign(task=name, file=None, sha256=None)
        table = pd.concat([table, rows], ignore_index=True) if found else table
    low, high = np.quantile(draws.to_numpy(), [alpha / 2, 1 - alpha / 2], axis=0)
    ends = pd.DataFrame({"low": low, "high": high}, index=draws.columns).reset_index()
    table = table.merge(ends, on=KEY, how="left")
    table["level"] = levels(table["tokens_per_param"])
    return table.sort_values(KEY, ignore_index=True)


def mean(rows: pd.DataFrame, parts: list[str]) -> dict:
    """y of one encoder's mean over the tasks `parts`, of which `rows` are those that it has."""
    lacking = [*sorted(set(parts) - set(rows["task"])), *(name for name in rows["missing"] if name)]
    y = rows["y"].mean() if not lacking else float("nan")
    return {"y": y, "n_queries": rows["n_queries"].sum(), "missing": ", ".join(lacking)}


def icl_points(icl: pd.DataFrame, averages: pd.DataFrame) -> pd.DataFrame:
    """One row a checkpoint and in-context task (and `mean` where no task is missing): score and its standard error.

    Scores are baseline-subtracted, (value - baseline) / (1 - baseline), and so are their errors. Where the study names
    averages of the gauntlet, `mean` is the first one, and categories and averages follow as VERSION/NAME.
    """
    icl = icl[icl["score"].notna()]
    rows = icl[["checkpoint", "task", "score", "file", "sha256"]].copy()
    rows["stderr"] = icl["stderr"].astype(float) / (1 - icl["baseline"].astype(float))
    every = rows["task"].nunique()
    means = []
    for checkpoint, found in rows.groupby("checkpoint"):
        if len(found) == every:
            error = float(np.sqrt((found["stderr"] ** 2).sum(skipna=False)) / every)
            means.append({"checkpoint": checkpoint, "task": MEAN, "score": found["score"].mean(), "stderr": error})
    mean = pd.DataFrame(means, columns=rows.columns)
    if len(averages):
        known = averages[averages["score"].notna()]
        named = known.assign(task=known["gauntlet"] + "/" + known["name"], file=None, sha256=None)[list(rows.columns)]
        mean = pd.concat([named[named["task"] == headline_icl(averages)].assign(task=MEAN), named])
    return pd.concat([rows, mean], ignore_index=True).sort_values(["checkpoint", "task"], ignore_index=True)


def headline_icl(averages: pd.DataFrame) -> str | None:
    """VERSION/NAME of the average that stands for in-context learning as a whole, if the study names one."""
    named = averages[averages["kind"] == "average"]
    return None if named.empty else f"{named.iloc[0]['gauntlet']}/{named.iloc[0]['name']}"

"""The points that every fit and figure rests on: one score of one encoder, with its uncertainty over queries."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from retscale.collect.means import MEAN
from retscale.common import parquet
from retscale.common.seeds import stream
from retscale.common.tables import table_path
from retscale.encoder.config import NO_RECIPE

LEVEL_TOLERANCE = 1.1  # tokens per parameter within this ratio are one level: token counts are rounded to batches
COUNTS = 2**22  # of a task's queries in replicates that are in memory at once: 64 MB
ENCODER = ["checkpoint", "recipe"]
KEY = [*ENCODER, "task"]
# The columns of an encoder, and of one of its scores. Listed, so that a further column of `scores` splits no mean.
ENCODER_COLUMNS = [
    "checkpoint",
    "family",
    "size",
    "n_params",
    "n_tokens",
    "flops",
    "tokens_per_param",
    "schedule_finished",
]
ENCODER_COLUMNS += ["role", "recipe", "seed"]
SCORE_COLUMNS = ["task", "y", "n_queries", "file", "sha256"]


def levels(ratios: pd.Series) -> pd.Series:
    """Tokens per parameter, each replaced by the geometric mean of its level, which starts at the least of them."""
    means, first = {}, None
    groups = {}
    for ratio in sorted(set(ratios.dropna())):
        if first is None or ratio > first * LEVEL_TOLERANCE:
            first = ratio
        groups.setdefault(first, []).append(ratio)
    for members in groups.values():
        means |= dict.fromkeys(members, float(np.exp(np.mean(np.log(members)))))
    return ratios.map(means).astype(float)


@dataclass(frozen=True)
class QueryScores:
    """A task's scores (queries, encoders), the encoders being (checkpoint, recipe); NaN where a query has none.

    `queries` (queries,) are their ids, sorted.
    """

    task: str
    encoders: list[tuple[str, str]]
    values: np.ndarray
    queries: np.ndarray


def per_query(primary: Path, metric: str) -> Iterator[pd.DataFrame]:
    """The table per_query beside collect.json, some rows at a time, with the column `metric` alone."""
    for batch in parquet.batches(table_path(primary, "per_query"), [*KEY, "query_id", metric]):
        yield batch.to_pandas()


def rows_of(tables: Iterable[pd.DataFrame], keys: pd.DataFrame) -> pd.DataFrame:
    """The rows of `tables` whose values in the columns of `keys` are a row of `keys`."""
    wanted = keys.drop_duplicates()
    parts = [rows.merge(wanted, on=list(wanted)) for rows in tables] if len(wanted) else []
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*KEY, "query_id"])


def query_scores(tables: Iterable[pd.DataFrame], metric: str) -> Iterator[QueryScores]:
    """The scores of each task with the metric, by name. `tables` have a row for each query of each encoder.

    Only numbers are kept in memory. Queries are sorted by id, so that the order of rows does not matter.
    """
    values: dict[str, dict[tuple[str, str], list[np.ndarray]]] = {}
    ids: dict[str, dict[str, int]] = {}
    for rows in tables:
        rows = rows[rows[metric].notna()]
        for (*encoder, task), part in rows.groupby(KEY):
            known = ids.setdefault(task, {})
            numbers = np.array([known.setdefault(id, len(known)) for id in part["query_id"]])
            of_task = values.setdefault(task, {}).setdefault(tuple(encoder), [])
            of_task.append(np.stack([numbers, part[metric].to_numpy(float)]))
    for task in sorted(values):
        queries = np.array(list(ids[task]), dtype=str)
        order = np.argsort(np.argsort(queries, kind="stable"))
        encoders = sorted(values[task])
        table = np.full((len(order), len(encoders)), np.nan)
        for column, encoder in enumerate(encoders):
            numbers, scores = np.concatenate(values[task].pop(encoder), axis=1)
            table[order[numbers.astype(int)], column] = scores
        yield QueryScores(task, encoders, table, np.sort(queries))


def paired(primary: Path, metric: str, cuts: dict[str, str]) -> dict[str, str]:
    """The `cuts`, {task: whole task}, whose queries with the metric are all queries of the whole task as well."""
    ids: dict[str, set[str]] = {name: set() for name in (*cuts, *cuts.values())}
    for rows in per_query(primary, metric) if cuts else ():
        for task, part in rows[rows["task"].isin(ids.keys()) & rows[metric].notna()].groupby("task"):
            ids[task].update(part["query_id"])
    return {cut: whole for cut, whole in cuts.items() if ids[cut] and ids[cut] <= ids[whole]}


def resampled(
    tasks: Iterable[QueryScores],
    averaged: dict[str, list[str]],
    replicates: int,
    seed: int,
    paired: dict[str, str] | None = None,
) -> pd.DataFrame:
    """Bootstrap over queries: replicates x encoders' scores, one column for each (checkpoint, recipe, task).

    A task's queries are drawn once per replicate and shared by all encoders, so that differences of two columns are
    paired; tasks are strata of the means. A task's draws depend on the seed and its own name alone. A mean of
    `averaged`, {name: what it is over}, has a column for the encoders that have all its parts; a task without the
    metric has none. The draws of a task that is `paired`, {task: whole task}, are those of the whole.
    """
    parts, waiting, paired = [], [], paired or {}
    queries: dict[str, tuple[str, np.ndarray]] = {}

    def draw(scores: QueryScores) -> None:
        columns = pd.MultiIndex.from_tuples([(*encoder, scores.task) for encoder in scores.encoders], names=KEY)
        drawn_of = queries[paired.get(scores.task, scores.task)]
        parts.append(pd.DataFrame(_resample(scores, *drawn_of, replicates, seed), columns=columns))

    for scores in tasks:
        queries[scores.task] = scores.task, scores.queries
        if paired.get(scores.task, scores.task) in queries:
            draw(scores)
        else:
            waiting.append(scores)
    for scores in waiting:
        draw(scores)
    if not parts:  # published scores come without those of single queries
        return pd.DataFrame(
            index=range(replicates), columns=pd.MultiIndex.from_arrays([[], [], []], names=KEY), dtype=float
        )
    draws = pd.concat(parts, axis=1)
    for name, parts in averaged.items():
        rows = draws.T[draws.columns.get_level_values("task").isin(parts)].groupby(level=ENCODER)
        whole = pd.concat({name: rows.mean()[rows.size() == len(parts)]}, names=["task"]).reorder_levels(KEY)
        draws = pd.concat([draws, whole.T], axis=1)
    return draws


def _resample(scores: QueryScores, task: str, queries: np.ndarray, replicates: int, seed: int) -> np.ndarray:
    """Means over a task's `queries` drawn with replacement (replicates, encoders), computed some replicates at a time.

    The scores may be of a part of these queries.
    """
    n, rng, own = len(queries), stream(seed, task), np.isin(queries, scores.queries)
    gaps = np.isnan(scores.values)
    values, measured = np.nan_to_num(scores.values), (~gaps).astype(float)
    parts = []
    for first in range(0, replicates, step := max(1, COUNTS // n)):
        weights = rng.multinomial(n, np.full(n, 1 / n), size=min(step, replicates - first)) / n
        weights = weights if own.all() else weights[:, own]
        # Where there are gaps, such as of robustness, each encoder has its values at queries of its own.
        some = gaps.any() or not own.all()
        parts.append((weights @ values) / (weights @ measured) if some else weights @ values)
    return np.concatenate(parts)


def points(
    scores: pd.DataFrame, draws: pd.DataFrame, averaged: dict[str, list[str]], metric: str, alpha: float
) -> pd.DataFrame:
    """One row per checkpoint, recipe and task, or mean of `averaged`: y, its interval over queries, and its file.

    A mean of which an encoder lacks a part has no y; `missing` names it.
    """
    rows = scores.rename(columns={"value": "y"})[[*ENCODER_COLUMNS, "metric", *SCORE_COLUMNS]]
    if rows["family"][~rows["recipe"].isin(NO_RECIPE)].nunique() > 1:
        # Two families' models of one nominal size are not replicates of a size.
        rows["size"] = rows["family"] + " " + rows["size"]
    encoders = rows[ENCODER_COLUMNS].drop_duplicates(ENCODER)
    table = rows[rows["metric"] == metric][[*ENCODER_COLUMNS, *SCORE_COLUMNS]].assign(missing="")
    for name, parts in averaged.items():
        by_encoder = dict(iter(table[table["task"].isin(parts)].groupby(ENCODER)))
        keys = zip(encoders["checkpoint"], encoders["recipe"], strict=True)
        means = [mean(by_encoder.get(key, table.head(0)), parts) for key in keys]
        rows = encoders.assign(**pd.DataFrame(means, index=encoders.index), task=name, file=None, sha256=None)
        table = pd.concat([table, rows], ignore_index=True)
    low, high = np.quantile(draws.to_numpy(float), [alpha / 2, 1 - alpha / 2], axis=0)
    ends = pd.DataFrame({"low": low, "high": high}, index=draws.columns).reset_index()
    table = table.merge(ends, on=KEY, how="left")
    table["level"] = levels(table["tokens_per_param"])
    return table.sort_values(KEY, ignore_index=True)


def mean(rows: pd.DataFrame, parts: list[str]) -> dict:
    """y of one encoder's mean over the tasks `parts`, of which `rows` are those that it has."""
    missing = [*sorted(set(parts) - set(rows["task"])), *(name for name in rows["missing"] if name)]
    y = rows["y"].mean() if not missing else float("nan")
    return {"y": y, "n_queries": rows["n_queries"].sum(), "missing": ", ".join(missing)}


def icl_points(icl: pd.DataFrame, averages: pd.DataFrame) -> pd.DataFrame:
    """One row per checkpoint and in-context task (and `mean` where no task is missing): score and its standard error.

    Scores are baseline-subtracted, (value - baseline) / (1 - baseline), and so are their errors. Where the study names
    averages of the gauntlet, `mean` is the first one, and categories and averages follow as VERSION/NAME.
    """
    icl = icl[icl["score"].notna()]
    rows = icl[["checkpoint", "task", "score", "file", "sha256"]].copy()
    rows["stderr"] = icl["stderr"].astype(float) / (1 - icl["baseline"].astype(float))
    mean = _means_of_tasks(rows, "score")
    if len(averages):
        defined = averages[averages["score"].notna()]
        averaged = defined.assign(task=defined["gauntlet"] + "/" + defined["name"], file=None, sha256=None)[
            list(rows.columns)
        ]
        mean = pd.concat([averaged[averaged["task"] == headline_icl(averages)].assign(task=MEAN), averaged])
    return pd.concat([rows, mean], ignore_index=True).sort_values(["checkpoint", "task"], ignore_index=True)


def icl_bits(icl: pd.DataFrame) -> pd.DataFrame:
    """One row per checkpoint and in-context task with bits per byte, and `mean` where none of these tasks is missing.

    The mean is over all of these tasks, also where the study names averages of scores: those include tasks without bits.
    """
    columns = ["checkpoint", "task", "bits_per_byte", "bits_per_byte_stderr", "file", "sha256"]
    rows = icl.loc[icl["bits_per_byte"].notna(), columns].rename(columns={"bits_per_byte_stderr": "stderr"})
    rows = rows.astype({"bits_per_byte": float, "stderr": float})
    rows = pd.concat([rows, _means_of_tasks(rows, "bits_per_byte")], ignore_index=True)
    return rows.sort_values(["checkpoint", "task"], ignore_index=True)


def _means_of_tasks(rows: pd.DataFrame, value: str) -> pd.DataFrame:
    """`mean` of each checkpoint that has all tasks of `rows`, with its standard error; tasks are independent."""
    n_tasks = rows["task"].nunique()
    means = []
    for checkpoint, tasks in rows.groupby("checkpoint"):
        if len(tasks) == n_tasks:
            error = float(np.sqrt((tasks["stderr"] ** 2).sum(skipna=False)) / n_tasks)
            means.append({"checkpoint": checkpoint, "task": MEAN, value: tasks[value].mean(), "stderr": error})
    return pd.DataFrame(means, columns=rows.columns)


def headline_icl(averages: pd.DataFrame) -> str | None:
    """VERSION/NAME of the average that stands for in-context learning as a whole, if the study names one."""
    named = averages[averages["kind"] == "average"]
    return None if named.empty else f"{named.iloc[0]['gauntlet']}/{named.iloc[0]['name']}"

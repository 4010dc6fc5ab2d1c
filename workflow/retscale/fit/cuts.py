"""Whether a cut of a task agrees with the whole task on checkpoints: on their order, growth and level."""

from dataclasses import asdict, dataclass, fields, replace

import numpy as np
import pandas as pd

from retscale.collect.means import MEAN
from retscale.fit.classes import drawn_scores
from retscale.fit.constant import constant
from retscale.fit.correlate import FEWEST, spearman
from retscale.fit.forms import FORMS
from retscale.fit.ladder import Ladder, ladder_of
from retscale.fit.solve import solve
from retscale.fit.trend import DECADES, missing

UNPAIRED = "the whole task lacks some of its queries, so the two are drawn apart"


@dataclass(frozen=True)
class Cut:
    """Scores of n checkpoints on a cut against those on the whole task; None where there is no estimate.

    `difference` is the slope (per decade of FLOPs) on the cut minus that on the whole task, `bias` the mean difference of
    the scores. Intervals are over queries, for these checkpoints.
    """

    n: int
    queries_whole: int | None
    queries_cut: int | None
    documents_whole: int | None
    documents_cut: int | None
    spearman: float | None = None
    spearman_low: float | None = None
    spearman_high: float | None = None
    slope_whole: float | None = None
    slope_cut: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    bias: float | None = None
    bias_low: float | None = None
    bias_high: float | None = None
    status: str = "insufficient"
    reason: str = ""


COLUMNS = ["recipe", "task", "whole", "headline", *(field.name for field in fields(Cut))]


def cuts(
    points: pd.DataFrame,
    draws: pd.DataFrame,
    scores: pd.DataFrame,
    whole_of: dict[str, str],
    paired: dict[str, str],
    alpha: float,
) -> pd.DataFrame:
    """One row per recipe and cut, and one of the means over all cuts and over their whole tasks.

    `points`: rows of finished ladders; `draws`: resampled scores, in which the cuts that are `paired` share their
    queries with their whole task; `scores`: for the numbers of queries and documents.
    """
    counts = scores.reindex(columns=["task", "n_queries", "n_documents"]).groupby("task").max()
    pairs = {cut: ([cut], [whole]) for cut, whole in whole_of.items()}
    if pairs:
        pairs |= {MEAN: (list(whole_of), list(whole_of.values()))}
    rows = []
    for recipe, of_recipe in points.groupby("recipe"):
        for task, (parts, wholes) in pairs.items():
            about = {"recipe": recipe, "task": task, "whole": whole_of.get(task, MEAN), "headline": task == MEAN}
            row = _compared(of_recipe, draws, counts, parts, wholes, alpha)
            apart = row.status == "ok" and not row.reason and not set(parts) <= paired.keys()
            rows.append(about | asdict(replace(row, reason=UNPAIRED) if apart else row))
    return pd.DataFrame(rows, columns=COLUMNS)


def _compared(
    points: pd.DataFrame, draws: pd.DataFrame, counts: pd.DataFrame, parts: list[str], wholes: list[str], alpha: float
) -> Cut:
    """The mean over the tasks `parts` against the mean over `wholes`, for one recipe's checkpoints that have all of them."""
    tasks = list(dict.fromkeys([*parts, *wholes]))
    table = points.pivot(index="checkpoint", columns="task", values="y").reindex(columns=tasks).dropna()
    about = points.drop_duplicates("checkpoint").set_index("checkpoint").loc[table.index].reset_index()
    recipe = points["recipe"].iloc[0]

    def drawn(tasks: list[str]) -> np.ndarray | None:
        each = [drawn_scores(draws, [(id, recipe, task) for id in table.index]) for task in tasks]
        return None if any(part is None for part in each) else np.mean(each, axis=0)

    def total(column: str, tasks: list[str]) -> int | None:
        values = counts[column].reindex(tasks)
        return None if values.isna().any() else int(values.sum())

    row = Cut(
        len(table),
        *(total(column, tasks) for column in ("n_queries", "n_documents") for tasks in (wholes, parts)),
    )
    ladder = ladder_of(about.assign(y=table[wholes].mean(axis=1).to_numpy()))
    return compare(ladder, table[parts].mean(axis=1).to_numpy(float), drawn(wholes), drawn(parts), alpha, row)


def compare(
    whole: Ladder, y: np.ndarray, drawn_whole: np.ndarray | None, drawn_cut: np.ndarray | None, alpha: float, row: Cut
) -> Cut:
    """`row` completed by comparing the scores y (n,) on a cut with those of the ladder `whole`.

    `drawn_whole`, `drawn_cut` (replicates, n): resampled scores on both; None where queries are unknown.
    """
    if len(whole) < FEWEST:
        return replace(row, reason=f"too few checkpoints ({len(whole)}); a rank correlation needs {FEWEST}")
    if constant(whole.y) or constant(y):
        return replace(row, status="unidentified", reason="the scores of one side are all equal")
    bias = y - whole.y
    row = replace(row, spearman=float(spearman(whole.y, y)), bias=float(bias.mean()), status="ok")
    lack = missing(FORMS["log-linear"], whole, DECADES)
    growth = None if lack else np.linalg.pinv(solve(FORMS["log-linear"], whole).jacobian)[1]
    if growth is not None:
        slopes = float(growth @ whole.y), float(growth @ y)
        row = replace(row, slope_whole=slopes[0], slope_cut=slopes[1], difference=slopes[1] - slopes[0])
    row = replace(row, reason=f"no slope: {lack}" if lack else "")
    if drawn_whole is None or drawn_cut is None:
        return replace(row, reason="; ".join(filter(None, [row.reason, "queries are unknown"])))
    apart = drawn_cut - drawn_whole
    ends = {"spearman_": spearman(drawn_whole, drawn_cut), "bias_": apart.mean(1)}
    ends |= {} if growth is None else {"": apart @ growth}
    for name, values in ends.items():
        low, high = np.nanquantile(values, [alpha / 2, 1 - alpha / 2])
        row = replace(row, **{f"{name}low": float(low), f"{name}high": float(high)})
    return row

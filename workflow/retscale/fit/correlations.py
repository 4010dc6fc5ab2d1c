"""The table of correlations: compute with quality, and in-context learning with retrieval."""

from dataclasses import asdict, fields

import numpy as np
import pandas as pd

from retscale.collect.means import MEAN
from retscale.common.seeds import stream
from retscale.fit.config import Spec
from retscale.fit.correlate import METHODS, Correlation, correlate
from retscale.fit.ladder import Ladder, ladder_of
from retscale.fit.multiple import benjamini_hochberg
from retscale.fit.partial import beyond_compute, control

FLOPS = "log10 FLOPs"
KEY = ["about", "recipe", "x", "y", "method", "headline", "shared_growth"]
COLUMNS = [*KEY, *(field.name for field in fields(Correlation))]
COLUMNS[COLUMNS.index("status") : COLUMNS.index("status")] = ["q", "disattenuated"]


def correlations(
    points: pd.DataFrame, icl: pd.DataFrame, bits: pd.DataFrame, reliable: pd.DataFrame, main: str, spec: Spec
) -> pd.DataFrame:
    """FLOPs with quality for each recipe and task; and in-context scores and bits per byte with the main recipe's mean,
    raw and beyond compute.

    Raw coefficients of in-context and retrieval scores are expected to be high, because both grow with compute; those of
    bits per byte, of which fewer are better, are expected to be low, towards -1. Rank and linear coefficients agree in
    sign, not in what they measure, so all three are given.
    """
    finished = points[points["schedule"] == "finished"]
    rows = []
    for (recipe, task), group in finished.groupby(["recipe", "task"]):
        key = {"about": "flops-quality", "recipe": recipe, "x": FLOPS, "y": task}
        rows += _raw(key, group["log_flops"].to_numpy(float), group, spec)
    means = finished[(finished["recipe"] == main) & (finished["task"] == MEAN)]
    for about, table, column in (("icl", icl, "score"), ("bits", bits, "bits_per_byte")):
        for task, group in table.groupby("task"):
            both = means.merge(group[["checkpoint", column]], on="checkpoint")
            if both.empty:
                continue
            key = {"recipe": main, "x": task, "y": MEAN}
            score = both[column].to_numpy(float)
            rows += _raw({"about": f"{about}-retrieval"} | key, score, both, spec)
            beyond = {"about": f"{about}-beyond-compute"} | key | {"method": "partial pearson"}
            rows.append(beyond | asdict(given_compute(score, ladder_of(both), (main, task), spec)))
    table = pd.DataFrame(rows, columns=COLUMNS)
    table["shared_growth"] = table["about"].isin(["icl-retrieval", "bits-retrieval"])
    table["headline"] = (table["y"] == MEAN) & table["x"].isin([FLOPS, MEAN])
    return _disattenuated(_corrected(table), reliable)


def given_compute(x: np.ndarray, ladder: Ladder, names: tuple[str, ...], spec: Spec) -> Correlation:
    """The partial correlation of x with the ladder's scores; `names` choose its random numbers."""
    rng = stream(spec.seed, "beyond compute", *names)
    given = control(ladder.at.n, ladder.at.d, ladder.groups)
    return beyond_compute(x, ladder.y, given, ladder.groups, spec.alpha, spec.bootstrap, rng)


def _raw(key: dict, x: np.ndarray, group: pd.DataFrame, spec: Spec) -> list[dict]:
    """One row for each method."""
    ladder = ladder_of(group)
    rows = []
    for method in METHODS:
        rng = stream(spec.seed, method, *key.values())
        correlation = correlate(x, ladder.y, ladder.groups, method, spec.alpha, spec.bootstrap, rng)
        rows.append(key | {"method": method} | asdict(correlation))
    return rows


def _corrected(table: pd.DataFrame) -> pd.DataFrame:
    """With q, over the single tasks of one recipe and method; the means have a p of their own."""
    table["q"] = np.nan
    single = table[(table["x"] != MEAN) & ((table["x"] != FLOPS) | (table["y"] != MEAN))]
    for _, group in single.groupby(["about", "recipe", "method"]):
        table.loc[group.index, "q"] = benjamini_hochberg(group["p"].to_numpy(float))
    return table


def _disattenuated(table: pd.DataFrame, reliable: pd.DataFrame) -> pd.DataFrame:
    """With Pearson's r divided by the root of the reliabilities of both sides; compute has no noise (Spearman 1904)."""
    of = {(row.about, row.recipe, row.task): row.reliability for row in reliable.itertuples()}
    table["disattenuated"] = np.nan
    for row in table[(table["method"] == "pearson") & table["value"].notna()].itertuples():
        of_x = 1.0 if row.x == FLOPS else of.get((row.about.removesuffix("-retrieval"), "", row.x), np.nan)
        both = of_x * of.get(("retrieval", row.recipe, row.y), np.nan)
        if both and np.isfinite(both):
            table.loc[row.Index, "disattenuated"] = float(np.clip(row.value / np.sqrt(both), -1, 1))
    return table

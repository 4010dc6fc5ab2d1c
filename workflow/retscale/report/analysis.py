"""The rows of each table of the analysis that the page shows."""

import pandas as pd

from retscale.collect.means import MEAN, ROBUST, shown_tasks
from retscale.fit.backtest import ROLLING
from retscale.fit.extrapolate import SET
from retscale.fit.slopes import SAMPLED
from retscale.fit.split import PRETRAINING, TRAINING
from retscale.fit.two_step import DIRECT
from retscale.report.results import FINISHED, Results, rows


def trends(results: Results) -> list[dict]:
    """The drawn form of the averages and the headline's tasks, steepest first."""
    table, fitted = results.table("fits"), results.fitted
    shown = [*results.averages, *shown_tasks(results.study)]
    table = table[(table["form"] == fitted.form) & table["task"].isin(shown)]
    table = table.assign(average=table["task"].isin(results.averages))
    keys = ["recipe", "schedule", "average", "slope"]
    return rows(table.sort_values(keys, ascending=[True, True, False, False], kind="stable"))


def slopes(results: Results) -> list[dict]:
    """Growth of the mean along each path."""
    return rows(results.of_mean("slopes"))


def single_tasks(results: Results) -> list[dict]:
    """Growth with compute of each of the headline's tasks."""
    table = results.table("slopes")
    own = (table["recipe"] == results.study.main_recipe) & (table["schedule"] == FINISHED)
    return rows(table[own & (table["path"] == SAMPLED) & table["task"].isin(list(results.study.headline))])


def selection(results: Results) -> list[dict]:
    """How each form fits the mean: the best first, those that could not be fitted last."""
    table = results.of_mean("selection")
    return rows(table.sort_values(["delta_aicc", "form"], na_position="last", kind="stable"))


def forecasts(results: Results) -> list[dict]:
    """Forecasts of the mean by the set of forms."""
    table = results.of_mean("targets")
    return rows(table[table["form"] == SET])


def backtests(results: Results) -> list[dict]:
    """Backtests of forecasts of the mean: of the set of forms first, then of each form that made forecasts."""
    table = results.of_mean("backtest")
    first = (table["form"] != SET).rename("first")
    shown = table[(table["status"] == "ok") | (table["form"] == SET)]
    return rows(shown.assign(first=first).sort_values(["scheme", "first"], ascending=[False, True], kind="stable"))


def rolling(results: Results) -> dict | None:
    """The backtest of the mean over all sizes that could be held out."""
    table = results.of_mean("backtest")
    rolling = rows(table[(table["scheme"] == ROLLING) & (table["form"] == SET)])
    return rolling[0] if rolling else None


def ceilings(results: Results) -> list[dict]:
    """Ceilings of the averages and tasks, by the union of the forms that have one."""
    table = results.table("ceilings")
    shown = [*results.averages, *results.study.headline]
    table = table[(table["form"] == SET) & (table["schedule"] == FINISHED) & table["task"].isin(shown)]
    return rows(averages_first(table, results))


def two_step(results: Results) -> list[dict]:
    """The steps from compute over entropy to the mean; empty if no entropy is known."""
    table = results.of_mean("two_step")
    return rows(table) if table.loc[table["step"] != DIRECT, "n"].any() else []


def cuts(results: Results) -> list[dict]:
    """Cuts against whole tasks of each recipe, the means last."""
    return rows(results.table("cuts"))


def equal_compute(results: Results) -> list[dict]:
    """The effect of how compute is split between parameters and tokens, on the averages."""
    table = results.table("isoflop_global")
    return rows(averages_first(table[table["task"].isin(results.averages)], results))


def pairs(results: Results) -> list[dict]:
    """Pairs of two sizes with nearly the same compute."""
    return rows(results.table("isoflop_pairs").query("iso_flop"))


def paired_families(results: Results) -> dict | None:
    """Two families at equal compute, on the mean: the pairs, and how many differ significantly; None if none are named."""
    fitted = results.fitted.config
    if not fitted.paired:
        return None
    table = results.table("paired_families").query("task == @MEAN")
    sure = table.loc[table["p_holm"] < fitted.alpha, "difference"]
    counts = {"better": int((sure > 0).sum()), "worse": int((sure < 0).sum())}
    return {"families": fitted.paired, "pairs": rows(table), "difference": table["difference"].mean(), **counts}


def correlations(results: Results) -> tuple[list[dict], list[dict]]:
    """Rows with the averages on both sides, and those of single tasks."""
    table = results.table("correlations")
    table = table.sort_values("headline", ascending=False, kind="stable")
    of_average = table["y"].isin(results.averages)
    whole = of_average & (table["x"].eq(MEAN) | table["about"].eq("flops-quality"))
    return rows(table[whole]), rows(table[of_average & ~whole])


def noise(results: Results) -> list[dict]:
    """Noise of the averages by source; empty if no source is known."""
    table = results.table("noise")
    return rows(table[table["task"].isin([MEAN, ROBUST])]) if table["sd"].notna().any() else []


def variance(results: Results) -> list[dict]:
    """The variance of the main recipe's scores by source, of the averages and the headline's tasks; empty without seeds."""
    table = results.table("variance")
    shown = [*results.averages, *results.study.headline]
    table = table[(table["recipe"] == results.study.main_recipe) & table["task"].isin(shown)]
    known = table[table["source"].isin([TRAINING, PRETRAINING])]["variance"].notna().any()
    return rows(averages_first(table[table["variance"].notna()], results)) if known else []


def comparisons(results: Results) -> list[dict]:
    """The mean of each other recipe against the main one, with the smallest difference that would be detected."""
    return rows(results.table("ablation").query("headline"))


def reliability(results: Results) -> list[dict]:
    """Reliability of scores, the means first; empty if the noise of no score is known."""
    table = results.table("reliability").sort_values("headline", ascending=False, kind="stable")
    return rows(table) if table["reliability"].notna().any() else []


def classes(results: Results) -> list[dict]:
    """The class of each task of the headline, under the main recipe: what its scores do as compute grows."""
    table = results.table("tasks")
    shown = (table["recipe"] == results.study.main_recipe) & table["task"].isin(list(results.study.headline))
    return rows(table[shown].sort_values(["class", "task"], kind="stable"))


def averages_first(table: pd.DataFrame, results: Results) -> pd.DataFrame:
    return table.assign(average=table["task"].isin(results.averages)).sort_values(
        ["recipe", "average"], ascending=[True, False], kind="stable"
    )

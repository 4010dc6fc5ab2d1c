"""Data efficiency by size: the area under each learning curve, and the queries needed for most of the last score."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from retscale.collect.means import MEAN
from retscale.figure import looks as look
from retscale.figure import style
from retscale.figure.config import FigureConfig
from retscale.figure.data import Drawn, Tables
from retscale.figure.words import interval, short
from retscale.fit.detectable import BOTH
from retscale.fit.efficiency import APART, SHARE


def draw(tables: Tables, config: FigureConfig) -> Drawn:
    """One row per recipe. Left: the area, right: the pairs, against parameters."""
    table = tables.table("efficiency")
    about = tables.points.drop_duplicates("checkpoint")
    about = about[["checkpoint", "family", "size", "level", "n_params", "hollow"]]
    rows = table[table["task"] == MEAN].merge(about, on="checkpoint").sort_values(["n_params", "checkpoint"])
    recipes = [recipe for recipe in tables.summary.recipes if recipe in set(rows["recipe"])]
    looks, count = look.looks(tables.points, config), max(len(recipes), 1)
    figure, grid = plt.subplots(count, 2, figsize=(config.width, 0.6 + 2.4 * count), squeeze=False)
    for (left, right), recipe in zip(grid, recipes, strict=False):
        part = rows[rows["recipe"] == recipe]
        panel(left, part, looks, "area")
        left.set_ylabel(f"area under the curve, {tables.metric}")
        left.set_title(recipe, loc="left", fontweight="bold")
        panel(right, part[part["needed"].notna()], looks, "needed")
        right.set_yscale("log")
        right.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
        right.yaxis.set_minor_formatter(NullFormatter())
        right.yaxis.set_major_locator(LogLocator(subs=range(1, 10)))
        right.set_ylabel(f"training queries for {SHARE:.0%} of the last score")
    if recipes:
        looks.colorbar(figure, list(grid.flat))
        looks.key(figure, rows)
    else:
        for ax in grid.flat:
            style.placeholder(ax, "no encoder was kept\nduring training")
    words = trend_words(tables.table("efficiency_trends"), tables) or "No encoder was kept during training."
    caption = (
        f"**Data efficiency.** Left: the mean {tables.metric} under each learning curve, training queries counted in "
        "logarithms, from the first kept encoder to the last. Right: the training queries after which the score first is "
        f"{SHARE:.0%} of its last value, on a straight line between two encoders; no mark where these are more than {APART} times apart; pointing down: the first kept encoder has "
        f"it already. {looks.words()} Vertical bars: {tables.percent} intervals over {over(rows)}. {words}"
    )
    alt = f"Marks of the area under learning curves, and of the training queries needed, against parameters. {words}"
    columns = ["checkpoint", "recipe", "task", "area", "area_low", "area_high"]
    columns += ["needed", "needed_low", "needed_high", "at_most"]
    return Drawn(figure, "Data efficiency: areas and training queries needed", rows[columns], caption, alt)


def panel(ax: Axes, rows: pd.DataFrame, looks: look.Looks, name: str) -> None:
    for row in rows.itertuples():
        value, low, high = (getattr(row, f"{name}{end}") for end in ("", "_low", "_high"))
        ax.plot([row.n_params] * 2, [low, high], color=looks.color(row.size), alpha=0.5, linewidth=0.9, zorder=3)
        looks.mark(ax, row, row.n_params, value)
        if name == "needed" and row.at_most is True:
            ax.annotate(
                "↓", (row.n_params, value), (0, -9), textcoords="offset points", ha="center", fontsize=style.SMALLEST
            )
    style.plain_log_axis(ax)
    ax.set_xlabel("parameters")


def over(rows: pd.DataFrame) -> str:
    """What the intervals are over."""
    known = {*rows["area_knows"], *rows["needed_knows"]}
    if BOTH not in known:
        return "test queries"
    return "test queries and seeds" if known == {BOTH} else "test queries, and over seeds where a recipe has several"


def trend_words(trends: pd.DataFrame, tables: Tables) -> str:
    """The trends with parameters and tokens, or why there is none."""
    said = []
    for row in trends.itertuples():
        start = f"`{row.recipe}`, {row.measure} per decade of {row.direction}"
        note = f" ({row.reason})" if row.reason else ""
        if row.status == "ok":
            said.append(f"{start}: {interval(row.slope, row.low, row.high)}{note}")
        else:
            said.append(f"{start}: cannot tell{note}")
    return f"{'; '.join(said)}." if said else ""

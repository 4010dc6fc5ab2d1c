"""The ablation: another recipe against the main one, on the same checkpoints and queries."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from retscale.collect.means import MEAN
from retscale.common.phrase import counted
from retscale.figure import looks as look
from retscale.figure import style
from retscale.figure.config import FigureConfig
from retscale.figure.data import Drawn, Tables, marks
from retscale.figure.words import interval, number
from retscale.fit.detectable import BOTH


def draw(tables: Tables, config: FigureConfig) -> Drawn:
    """Left: both recipes' mean scores, joined for each checkpoint. Right: the difference with its paired interval."""
    rows = tables.table("ablation").query(f"task == '{MEAN}' and role != 'external'")
    known = tables.points.drop_duplicates("checkpoint")[["checkpoint", "family", "level", "hollow"]]
    rows = rows[rows["flops"].notna()].merge(known, on="checkpoint").sort_values(["recipe", "flops", "checkpoint"])
    recipes = sorted(rows["recipe"].unique())
    looks = look.looks(tables.points, config)
    shape = {"nrows": max(len(recipes), 1), "ncols": 2, "squeeze": False, "sharex": True}
    figure, grid = plt.subplots(figsize=(config.width, 0.4 + 2.5 * shape["nrows"]), **shape)
    drawn = []
    for (left, right), recipe in zip(grid, recipes, strict=False):
        part = rows[rows["recipe"] == recipe]
        pair(left, part, looks, config)
        difference(right, part, looks, config)
        left.set_ylabel(f"mean {tables.metric}")
        right.set_ylabel(f"{recipe} − {tables.main}, {tables.metric}")
        style.flops_axis(left, rows["flops"], label=False)
        both = pd.concat([tables.of(name, MEAN) for name in (tables.main, recipe)])
        drawn.append(both[both["checkpoint"].isin(part["checkpoint"])])
    figure.supxlabel("pretraining compute, 6 × parameters × tokens (FLOPs)", fontsize=config.font_size)
    if recipes:
        open_mark = {"linestyle": "none", "marker": "o", "color": config.accent, "markersize": 5}
        handles = [Line2D([], [], **open_mark | {"color": "#444444"}, label=tables.main)]
        handles += [
            Line2D([], [], **open_mark, markerfacecolor="white", label=recipes[0] if len(recipes) == 1 else "another")
        ]
        looks.colorbar(figure, list(grid.flat))
        looks.key(figure, rows, ("recipe", handles), levels=False)
    else:
        for ax in grid.flat:
            style.placeholder(ax, "no checkpoint was trained\nwith a second recipe")

    words = " ".join(difference_words(rows[rows["recipe"] == recipe], recipe, tables) for recipe in recipes)
    words = words or "No checkpoint was trained with a second recipe."
    how = "paired bootstrap, Student’s t" if tables.summary.repeats else "paired bootstrap"
    caption = (
        f"**Recipes against the main one.** Mean {tables.metric} of encoders that differ in the recipe only. Left: "
        "filled marks "
        f"`{tables.main}`, open marks the other recipe, joined for each checkpoint. Right: the difference, with its "
        f"{tables.percent} "
        f"interval {tables.over} ({how}). {words}"
    )
    alt = (
        f"Two panels against logarithmic FLOPs: mean {tables.metric} of two recipes on the same checkpoints, and "
        f"their difference. {words}"
    )
    every = pd.concat(drawn) if drawn else tables.points.head(0)
    every = every.drop_duplicates(["checkpoint", "recipe"])
    return Drawn(figure, "Recipes against the main one", marks(every), caption, alt)


def pair(ax: Axes, rows: pd.DataFrame, looks: dict, config: FigureConfig) -> None:
    """Both scores of each checkpoint."""
    for row in rows.itertuples():
        ax.plot([row.flops] * 2, [row.y_against, row.y], color=config.accent, linewidth=0.9, alpha=0.6, zorder=2)
        looks.mark(ax, row, row.flops, row.y_against, markerfacecolor=looks.color(row.size))
        looks.mark(ax, row, row.flops, row.y, markerfacecolor="white", markeredgecolor=config.accent)


def difference(ax: Axes, rows: pd.DataFrame, looks: dict, config: FigureConfig) -> None:
    """The difference of each checkpoint."""
    ax.axhline(0, color="#444444", linewidth=0.8, zorder=1)
    for row in rows.itertuples():
        ax.plot([row.flops] * 2, [row.low, row.high], color=config.accent, linewidth=1.2, alpha=0.6, zorder=2)
        looks.mark(ax, row, row.flops, row.difference, markerfacecolor="white", markeredgecolor=config.accent)


def difference_words(rows: pd.DataFrame, recipe: str, tables: Tables) -> str:
    """How many checkpoints gain and by how much."""
    sure, worse = int((rows["low"] > 0).sum()), int((rows["high"] < 0).sum())
    each = "; ".join(f"{row.checkpoint} {interval(row.difference, row.low, row.high)}" for row in rows.itertuples())
    return (
        f"`{recipe}` scores above `{tables.main}` with its whole interval on {sure} of "
        f"{counted(len(rows), 'checkpoint')} and below on {worse}; "
        f"the mean difference is {number(rows['difference'].mean())} ({each}). {detectable_words(rows)}"
    )


def detectable_words(rows: pd.DataFrame) -> str:
    """The smallest difference that one such comparison would detect, and what it knows."""
    least, most = number(rows["detectable"].min(), 4), number(rows["detectable"].max(), 4)
    span = least if least == most else f"{least} to {most}"
    alone = "" if (rows["detectable_knows"] == BOTH).all() else " alone, not the seeds of trainings"
    knows = BOTH if not alone else "queries"
    return f"The smallest difference that one comparison detects with a power of 80%: {span}, knowing {knows}{alone}."

"""Scores on cuts of tasks against those on the whole tasks."""

import math
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from retscale.common.phrase import counted
from retscale.figure import looks as look
from retscale.figure import style
from retscale.figure.config import FigureConfig
from retscale.figure.data import Drawn, Tables, marks
from retscale.figure.words import interval, number

COLUMNS = 3


def draw(tables: Tables, config: FigureConfig) -> Drawn:
    """Small multiples, one for each cut: a mark per checkpoint, and the line on which both scores are equal."""
    rows = tables.table("cuts").query("recipe == @tables.main and not headline")
    by_task = {row.task: both(tables, row.task, row.whole) for row in rows.itertuples()}
    looks = look.looks(tables.points, config)
    count = math.ceil(max(len(rows), 1) / COLUMNS)
    shape = {"nrows": count, "ncols": min(COLUMNS, max(len(rows), 1)), "squeeze": False}
    figure, grid = plt.subplots(figsize=(config.width, 0.8 + 2.3 * count), **shape)
    for ax, row in zip(grid.flat, rows.itertuples(), strict=False):
        panel(ax, by_task[row.task], looks)
        ax.set_title(row.task, loc="left", pad=12, fontweight="bold", fontsize=config.font_size)
        ax.text(0, 1.025, size_words(row), transform=ax.transAxes, fontsize=style.small(config), color="#444444")
    for ax in grid.flat[max(len(rows), 1) :]:
        ax.set_visible(False)
    every = pd.concat(by_task.values()) if by_task else both(tables, "", "")
    if every.empty:
        style.placeholder(grid.flat[0], "no checkpoint has a score on a task and on a cut of it")
    else:
        figure.supxlabel(f"{tables.metric} on the whole task", fontsize=config.font_size)
        figure.supylabel(f"{tables.metric} on the cut", fontsize=config.font_size)
        line = Line2D([], [], color=style.GRAY, linewidth=0.8, linestyle="--", label="equal")
        looks.colorbar(figure, list(grid.flat), above=True)
        looks.key_above(figure, every, ("", [line]))

    sentences = " ".join(f"{row.task}: {words(row)}." for row in rows.itertuples())
    caption = (
        f"**Cuts against whole tasks.** {tables.metric} of each checkpoint{tables.by_recipe} on a cut against that on the "
        f"whole task. {looks.words()} Bars: {tables.percent} intervals over queries. Under each name: documents of the "
        "cut, of the whole. Slopes are per decade of FLOPs, whole → cut, with the difference and its "
        f"{tables.percent} interval over queries that both are asked. {sentences}"
    )
    alt = (
        f"{counted(len(rows), 'scatter plot')} of {tables.metric} on cuts against {tables.metric} on whole tasks, one mark "
        f"per checkpoint, with the line on which both are equal. {sentences}"
    )
    drawn = marks(every, x=every["x"], x_low=every["whole_low"], x_high=every["whole_high"])
    return Drawn(figure, "Scores on cuts against scores on whole tasks", drawn, caption, alt)


def both(tables: Tables, task: str, whole: str) -> pd.DataFrame:
    """The main recipe's points on a cut, with the score on the whole task as x and its interval as whole_low, whole_high."""
    of_whole = tables.of(tables.main, whole)[["checkpoint", "y", "low", "high"]]
    of_whole = of_whole.rename(columns={"y": "x", "low": "whole_low", "high": "whole_high"})
    return tables.of(tables.main, task).merge(of_whole, on="checkpoint")


def panel(ax: Axes, rows: pd.DataFrame, looks: look.Looks) -> None:
    many = rows["checkpoint"].nunique() > style.MANY
    for row in rows.itertuples():
        if not many:
            bar = {"color": looks.color(row.size), "alpha": 0.35, "linewidth": 0.9, "zorder": 3}
            ax.plot([row.x] * 2, [row.low, row.high], **bar)
            ax.plot([row.whole_low, row.whole_high], [row.y] * 2, **bar)
        looks.mark(ax, row, row.x, row.y, size=2.5 if many else 4)
    ax.autoscale_view()
    low, high = min(ax.get_xlim()[0], ax.get_ylim()[0]), max(ax.get_xlim()[1], ax.get_ylim()[1])
    ax.plot([low, high], [low, high], color=style.GRAY, linewidth=0.8, linestyle="--", zorder=1)
    ax.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(plt.MaxNLocator(4))


def size_words(row: Any) -> str:
    """Such as `1,873 of 4,000 documents`; empty if the numbers are unknown."""
    known = pd.notna(row.documents_whole) and pd.notna(row.documents_cut)
    return f"{int(row.documents_cut):,} of {int(row.documents_whole):,} documents" if known else ""


def words(row: Any) -> str:
    """Correlation, slopes and bias in a row of the table `cuts`, or why there are none."""
    if row.status != "ok":
        return row.reason
    rank = f"Spearman ρ {interval(row.spearman, row.spearman_low, row.spearman_high, 2)}"
    bias = f"bias {interval(row.bias, row.bias_low, row.bias_high)}"
    if pd.isna(row.difference):
        return f"{rank}, {bias}; {row.reason}"
    slopes = f"slope {number(row.slope_whole)} → {number(row.slope_cut)}"
    return f"{rank}, {slopes}, difference {interval(row.difference, row.low, row.high)}, {bias}"

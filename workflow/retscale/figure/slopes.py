"""Growth of every task side by side: a caterpillar of slopes."""

import matplotlib.pyplot as plt
from matplotlib.lines import Line2D

from retscale.collect.means import MEAN, shown_tasks
from retscale.common.phrase import counted
from retscale.figure import style
from retscale.figure.config import FigureConfig
from retscale.figure.data import Drawn, Tables
from retscale.figure.words import interval

# Gray for what cannot be told; the others differ in marker as well.
CLASSES = {"monotone": "o", "plateau": "D", "inverse": "v", "noisy": "s", "insufficient": "x"}


def draw(tables: Tables, config: FigureConfig) -> Drawn:
    """Slope per decade of FLOPs with its interval, one row a task, by slope; the mean in bold."""
    names = [MEAN, *shown_tasks(tables.summary)]
    rows = tables.drawn("fits").query("recipe == @tables.main and task in @names and slope.notna()")
    classes = tables.table("tasks").query("recipe == @tables.main").set_index("task")["class"]
    rows = rows.assign(kind=rows["task"].map(classes).fillna("insufficient"))
    rows = rows.sort_values(["slope", "task"], ignore_index=True)
    figure, ax = plt.subplots(figsize=(config.width, 0.9 + 0.19 * max(len(rows), 4)))
    for place, row in enumerate(rows.itertuples()):
        look = appearance(row.kind, config)
        ax.plot([row.low, row.high], [place] * 2, color=look["color"], linewidth=2.2 if row.task == MEAN else 1.2)
        ax.plot([row.slope], [place], markersize=6 if row.task == MEAN else 4.5, **look)
    if rows.empty:
        style.placeholder(ax, "no trend could be fitted")
    else:
        ax.axvline(0, color="#444444", linewidth=0.8, zorder=1)
        ax.set_yticks(range(len(rows)), [tables.title(task) for task in rows["task"]])
        for label, task in zip(ax.get_yticklabels(), rows["task"], strict=True):
            label.set_fontweight("bold" if task == MEAN else "normal")
        ax.set_ylim(-0.7, len(rows) - 0.3)
        ax.set_xlabel(f"{tables.metric} per decade of pretraining FLOPs")
        shown = [kind for kind in CLASSES if kind in set(rows["kind"])]
        handles = [Line2D([], [], markersize=4.5, label=kind, **appearance(kind, config)) for kind in shown]
        figure.legend(handles=handles, title="class", loc="outside right upper")._legend_box.align = "left"

    listed = "; ".join(
        f"{row.task} {interval(row.slope, row.low, row.high)} ({row.kind})" for row in rows[::-1].itertuples()
    )
    caption = (
        f"**Growth of each task.** {tables.metric} per decade of pretraining FLOPs{tables.by_recipe}, with its "
        f"{tables.percent} interval; bold: the mean over {tables.averaged_over}. Monotone: it grows. Plateau: it grows, "
        "bends down, and need not grow at the most compute. Inverse: it falls. Noisy: neither can be told from noise."
        f"{tables.contrasts}"
    )
    alt = f"{counted(len(rows), 'slope')} with intervals, from the steepest. {listed}"
    marks = rows.assign(x=rows["slope"])[["recipe", "task", "x", "low", "high", "kind"]]
    return Drawn(figure, "Growth of each task with pretraining FLOPs", marks, caption, alt)


def appearance(kind: str, config: FigureConfig) -> dict:
    """Color and marker of a class."""
    sure = kind in ("monotone", "plateau", "inverse")
    return {
        "marker": CLASSES[kind],
        "color": config.accent if kind == "inverse" else config.trend if sure else style.GRAY,
        "markerfacecolor": None if sure else "white",
        "linestyle": "none",
        "zorder": 3,
    } | ({} if sure else {"markeredgewidth": 0.9})

"""Figure 2: each task against compute."""

import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from retscale.collect.means import MEAN, in_domain_of, shown_tasks
from retscale.common.phrase import counted
from retscale.figure import looks as look
from retscale.figure import published, references, style
from retscale.figure.config import FigureConfig
from retscale.figure.data import Drawn, Tables, marks, published_marks
from retscale.figure.fig1b import trend_and_bands
from retscale.figure.words import bar_words, interval, ladder_words

COLUMNS = 4


def draw(tables: Tables, config: FigureConfig) -> Drawn:
    """Small multiples ordered by slope; every panel spans the same range of y, so slopes compare by eye."""
    names = list(shown_tasks(tables.summary))
    trends = tables.drawn("fits").query("recipe == @tables.main and task in @names")
    known = tables.points.query("recipe == @tables.main and task in @names")["task"].unique()
    # Steepest first, tasks without a trend last.
    order = list(trends.sort_values(["slope", "task"], ascending=[False, True], na_position="last")["task"])
    order += sorted(set(known) - set(order))
    by_task = {task: tables.of(tables.main, task) for task in order}
    others = {task: tables.published_of(task) for task in order}
    systems = {task: references.of(tables, task) for task in order}
    looks = look.looks(tables.points, config)

    count = math.ceil(max(len(order), 1) / COLUMNS)
    shape = {"nrows": count, "ncols": min(COLUMNS, max(len(order), 1)), "sharex": True, "squeeze": False}
    figure, grid = plt.subplots(figsize=(config.width, 0.75 + 1.4 * count), **shape)
    spans = [np.ptp(ends(by_task[task], others[task])) for task in order if len(by_task[task])]
    scale = round_scale(float(np.median(spans)) if spans else 1.0)
    trend_of = trends.set_index("task")
    for ax, task in zip(grid.flat, order, strict=False):
        panel(ax, by_task[task], others[task], tables.prediction(tables.main, task), scale, looks, config)
        references.draw(ax, systems[task], config, named=False)
        ax.set_title(task, loc="left", pad=12, fontweight="bold", fontsize=config.font_size)
        below = (
            f"{slope_words(trend_of, task)}{', in-domain' if in_domain_of(task, tables.summary, tables.main) else ''}"
        )
        ax.text(0, 1.025, below, transform=ax.transAxes, fontsize=style.small(config), color="#444444")
    for ax in grid.flat[len(order) :]:
        ax.set_visible(False)
    # A column whose last row is empty needs its tick labels one row up.
    for column in range(grid.shape[1]):
        last = [ax for ax in grid[:, column] if ax.get_visible()]
        if last:
            last[-1].xaxis.set_tick_params(labelbottom=True)
    every = pd.concat(by_task.values()) if by_task else tables.points.head(0)
    theirs = pd.concat(others.values()) if others else tables.published.head(0)
    lines = pd.concat(systems.values()) if systems else references.of(tables, MEAN).head(0)
    if every.empty:
        style.placeholder(grid.flat[0], "no checkpoint with known compute")
    else:
        style.flops_axis(grid.flat[0], pd.concat([every["flops"], theirs["flops"]]), label=False)
        figure.supxlabel("pretraining compute, 6 × parameters × tokens (FLOPs)", fontsize=config.font_size)
        figure.supylabel(tables.metric, fontsize=config.font_size)
    looks.colorbar(figure, list(grid.flat), above=True)
    looks.key_above(figure, every, ("", published.legend(theirs)), ("reference", references.legend(lines)))

    caption = (
        f"**Figure 2. Each retrieval task against pretraining compute.** {tables.metric}{tables.by_recipe}, "
        "tasks ordered by slope; "
        f"every panel has its own y axis; the black bar at its right is {scale:g} high in each. {looks.words()} "
        f"Numbers under each name: slope per decade of FLOPs with {tables.percent} interval; line and band: trend "
        f"and its {tables.percent} confidence band. "
        f"{in_domain_words(tables, order)}"
        f"{bar_words(every, f'interval {tables.over}')}Hollow: not in the fit.{tables.contrasts}{references.words(lines)}"
        f"{published.words(tables, None)}"
    )
    alt = (
        f"{counted(len(order), 'small scatter plot')} of {tables.metric} against logarithmic FLOPs, one for each task. "
    )
    alt += " ".join(
        f"{tables.title(task)}: slope per decade {slope_words(trend_of, task)}. {ladder_words(by_task[task])}"
        for task in order
    )
    alt += references.words(lines) + published.words(tables, None)
    drawn = pd.concat([marks(pd.concat([every, lines])), published_marks(theirs)], ignore_index=True)
    return Drawn(figure, "Figure 2: each retrieval task against pretraining FLOPs", drawn, caption, alt)


def in_domain_words(tables: Tables, names: list[str]) -> str:
    """What the mark means, if a panel bears it."""
    marked = any(in_domain_of(name, tables.summary, tables.main) for name in names)
    return (
        "In-domain: the encoders were trained on data of this kind, so it counts in no zero-shot mean. "
        if marked
        else ""
    )


def ends(rows: pd.DataFrame, others: pd.DataFrame) -> tuple[float, float]:
    """The lowest and the highest value that a panel shows; of many checkpoints without their intervals."""
    columns = ["y"] if len(rows) > style.MANY else ["y", "low", "high"]
    values = np.concatenate([*(rows[name].dropna() for name in columns), others["y"]])
    return float(values.min()), float(values.max())


def round_scale(span: float) -> float:
    """The 1, 2 or 5 of a power of ten next below half of `span`."""
    return max(
        step * 10.0**power for power in range(-4, 1) for step in (1, 2, 5) if step * 10.0**power <= max(span, 2e-4) / 2
    )


def panel(
    ax: Axes,
    rows: pd.DataFrame,
    others: pd.DataFrame,
    band: pd.DataFrame,
    scale: float,
    looks: look.Looks,
    config: FigureConfig,
) -> None:
    """One task."""
    trend_and_bands(ax, band[~band["extrapolated"].astype(bool)], config, prediction=False)
    many = len(rows) > style.MANY
    for row in rows.itertuples():
        if not many:
            style.bar(ax, row, looks.color(row.size), many)
        looks.mark(ax, row, row.flops, row.y, size=2.5 if many else 3.8)
    published.draw(ax, others, size=3.4)
    if len(rows):
        low, high = ends(rows, others)
        room = max(high - low, 1.2 * scale) * 0.06
        middle, half = (low + high) / 2, max(high - low, 1.2 * scale) / 2
        low, high = ax.set_ylim(max(middle - half - room, -room), middle + half + room)
        foot = low + room
        ax.plot([0.985] * 2, [foot, foot + scale], transform=ax.get_yaxis_transform(), color="black", linewidth=1.5)
        ax.yaxis.set_major_locator(plt.MaxNLocator(4))


def slope_words(trends: pd.DataFrame, task: str) -> str:
    """`0.041 [0.031, 0.052]`, or the status."""
    if task not in trends.index:
        return "no trend"
    row = trends.loc[task]
    return (
        f"{interval(row['slope'], row['low'], row['high'])}"
        if row["status"] == "ok"
        else "no trend: too little data"
        if row["status"] == "insufficient"
        else f"no trend: {row['status']}"
    )

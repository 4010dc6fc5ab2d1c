"""Scores of all backbones against their parameters, zero-shot or on the tasks of the training data."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes

from retscale.collect.means import MEAN, compared_on
from retscale.common.phrase import counted
from retscale.figure import looks as look
from retscale.figure import published, references, style
from retscale.figure.config import FigureConfig
from retscale.figure.data import Drawn, Tables, marks, published_marks
from retscale.figure.words import bar_words, interval, not_drawn

MOST = 4  # panels


def draw_zero_shot(tables: Tables, config: FigureConfig) -> Drawn:
    """The mean of the headline and those of the study's own groups: of backbones that were trained on none of their tasks."""
    return draw(tables, config, of_each(tables, 1), "Zero-shot retrieval of each backbone")


def draw_in_domain(tables: Tables, config: FigureConfig) -> Drawn:
    """The tasks of the training data and averages with one of them: of backbones that were trained on these."""
    return draw(tables, config, of_each(tables, 0), "In-domain retrieval of each backbone")


def of_each(tables: Tables, place: int) -> dict[str, pd.DataFrame]:
    """The first tasks and averages that the first recipes of backbones are compared on, with the rows of these backbones.

    `place` in what `compared_on` gives: 0 in-domain, 1 zero-shot.
    """
    compared = {recipe: compared_on(tables.summary, recipe)[place] for recipe in tables.summary.recipes}
    panels = {}
    for name in dict.fromkeys(name for names in compared.values() for name in names):
        rows = backbones(tables, name)
        panels[name] = rows[[name in compared[recipe] for recipe in rows["recipe"]]]
    shown = [name for name, rows in panels.items() if len(rows)] or list(panels)[:1]
    return {name: panels[name] for name in shown}


def draw(tables: Tables, config: FigureConfig, panels: dict[str, pd.DataFrame], title: str) -> Drawn:
    """One panel for each task or average, with its rows; each checkpoint has one mark, of its first recipe."""
    labels = {MEAN: f"mean over {tables.averaged_over}"} | {name: f"mean of {name}" for name in tables.summary.groups}
    titles = {name: labels.get(name, name) for name in list(panels)[:MOST]}
    rows = pd.concat([panels[name] for name in titles] or [tables.points.head(0)])
    lines = pd.concat([references.of(tables, name) for name in (titles or [MEAN])])
    lines = lines[~lines["recipe"].isin(tables.summary.recipes)]  # one of unknown compute has a mark at its parameters
    others = pd.concat(
        [sized(tables.published.query("task == @name")) for name in titles] or [sized(tables.published.head(0))]
    )
    looks = look.looks(tables.points, config)
    columns = min(len(titles), 2) or 1
    shape = {"nrows": -(-len(titles) // columns) or 1, "ncols": columns, "squeeze": False}
    figure, grid = plt.subplots(figsize=(config.width, 0.6 + 2.5 * shape["nrows"]), sharex=True, **shape)
    for ax in list(grid.flat)[len(titles) :]:
        ax.set_axis_off()
    for ax, (name, label) in zip(grid.flat, titles.items(), strict=False):
        panel(ax, rows[rows["task"] == name], others[others["task"] == name], looks)
        references.draw(ax, lines[lines["task"] == name], config)
        ax.set_title(label, loc="left")
    for ax in grid[:, 0]:
        ax.set_ylabel(tables.metric)
    if rows.empty:
        style.placeholder(grid[0, 0], "no encoder has a score there")
    else:
        figure.supxlabel("parameters that make a vector", fontsize=config.font_size)
        looks.colorbar(figure, list(grid.flat))
        looks.key(figure, rows.assign(hollow=rows["hollow"].astype(bool)), ("", published.legend(others)))

    words = " ".join(extremes(rows[rows["task"] == name], label) for name, label in titles.items())
    note = references.words(lines) + published_words(tables, others) + not_drawn(list(panels)[MOST:])
    caption = (
        f"**{title}.** {tables.metric} against parameters, each checkpoint as its first recipe makes it an encoder. "
        f"{looks.words()} {bar_words(rows, f'{tables.percent} interval {tables.over}')}Hollow: in no fit. {words}{note}"
    )
    alt = (
        f"{title}: marks of {tables.metric} against the logarithm of parameters, one a checkpoint with its interval "
        f"{tables.over}. {words or 'Nothing is drawn: no encoder has a score there.'}{note}"
    )
    drawn = [
        marks(rows, x=rows["n_params"]),
        marks(lines, x=lines["n_params"]),
        published_marks(others).assign(x=others["n_params"].to_numpy()),
    ]
    return Drawn(figure, title, pd.concat(drawn, ignore_index=True), caption, alt)


def backbones(tables: Tables, task: str) -> pd.DataFrame:
    """The points of a task by parameters, one a checkpoint: that of its first recipe."""
    order = {recipe: place for place, recipe in enumerate(tables.summary.recipes)}
    rows = tables.points.query("task == @task")
    rows = rows.assign(place=rows["recipe"].map(order)).sort_values(["place", "checkpoint"])
    return rows.drop_duplicates("checkpoint").sort_values(["n_params", "checkpoint"], ignore_index=True)


def sized(others: pd.DataFrame) -> pd.DataFrame:
    """The published points whose parameters are known."""
    return others[others["n_params"].notna()] if "n_params" in others else others.assign(n_params=None).head(0)


def panel(ax: Axes, rows: pd.DataFrame, others: pd.DataFrame, looks: look.Looks) -> None:
    many = len(rows) > style.MANY
    for row in rows.itertuples():
        if pd.notna(row.low):
            ends, alpha = [row.low, row.high], 0.2 if many else 0.5
            ax.plot([row.n_params] * 2, ends, color=looks.color(row.size), alpha=alpha, linewidth=0.9)
        looks.mark(ax, row, row.n_params, row.y)
    ax.plot(others["n_params"], others["y"], markersize=4, zorder=3, **published.HOLLOW)
    style.plain_log_axis(ax)


def extremes(rows: pd.DataFrame, label: str) -> str:
    """The highest and the lowest score of a panel, as a sentence."""
    if rows.empty:
        return ""
    high, low = rows.loc[rows["y"].idxmax()], rows.loc[rows["y"].idxmin()]
    sentence = (
        f"{label[0].upper()}{label[1:]}: highest {high['checkpoint']} {interval(high['y'], high['low'], high['high'])}"
    )
    if len(rows) > 1:
        sentence += f", lowest {low['checkpoint']} {interval(low['y'], low['low'], low['high'])} of {counted(len(rows), 'backbone')}"
    return f"{sentence}."


def published_words(tables: Tables, others: pd.DataFrame) -> str:
    if tables.published.empty:
        return ""
    sources = "; ".join(sorted(set(tables.published["source"])))
    return f" Published elsewhere ({sources}): {counted(others['model'].nunique(), 'model')}, gray diamonds, in no fit."

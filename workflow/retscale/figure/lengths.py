"""Lengthy retrieval: scores against the number of tokens that an encoder reads of a document."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from retscale.collect.means import MEAN
from retscale.common.phrase import counted
from retscale.encoder.config import GIVEN
from retscale.figure import looks as look
from retscale.figure import style
from retscale.figure.config import FigureConfig
from retscale.figure.data import Drawn, Tables
from retscale.figure.words import interval
from retscale.fit.variants import in_mean

Dash = str | tuple
DASHES: list[Dash] = ["-", (0, (4, 1.5)), (0, (1, 1)), (0, (4, 1.5, 1, 1.5))]  # of recipes


def draw(tables: Tables, config: FigureConfig) -> Drawn:
    """Left: the mean over the long tasks against the length. Right: its difference from the encoder's own length."""
    table = tables.table("lengths")
    rows, tasks = of_mean(tables, table), sorted(in_mean(set(table["task"]), tables.summary))
    looks = look.looks(tables.points, config)
    figure, (left, right) = plt.subplots(1, 2, figsize=(config.width, 3.0))
    recipes = list(dict.fromkeys(rows["recipe"]))
    for (_, recipe), line in rows.groupby(["checkpoint", "recipe"]):
        dash = DASHES[recipes.index(recipe) % len(DASHES)]
        draw_line(left, line, looks, dash, "y", ("low", "high"))
        draw_line(
            right, line.dropna(subset="difference"), looks, dash, "difference", ("difference_low", "difference_high")
        )
    if rows.empty:
        for ax in (left, right):
            style.placeholder(ax, "no encoder was evaluated\nat another length")
    else:
        for ax in (left, right):
            length_axis(ax, rows["length"])
        right.axhline(0, color="#444444", linewidth=0.8, zorder=1)
        left.set_ylabel(f"mean {tables.metric}")
        right.set_ylabel("difference from its own length")
        keys = [
            Line2D([], [], color=look.DARK, linestyle=DASHES[i % len(DASHES)], label=name)
            for i, name in enumerate(recipes)
        ]
        marks = [look.entry("o", look.DARK, label="within"), look.entry("o", look.DARK, face="white", label="beyond")]
        looks.colorbar(figure, [left, right])
        known = rows[rows["size"].isin(looks.colors)].assign(hollow=False)
        looks.key(
            figure, known, ("length of\npretraining", marks), ("recipe", keys if len(keys) > 1 else []), levels=False
        )

    words = " ".join(line_words(line, *encoder) for encoder, line in rows.groupby(["checkpoint", "recipe"]))
    words = words or "No encoder was evaluated at another length."
    over = ", ".join(tasks) if len(tasks) < 5 else counted(len(tasks), "task")
    caption = (
        f"**Lengthy retrieval.** {tables.metric}, the mean over {over or 'no task'}, of the same encoders with documents cut "
        "after so many tokens (log scale); queries keep their length. Left: the score. Right: its difference from the score at the "
        f"length of fine-tuning, which has a ring. Vertical bars: {tables.percent} intervals over queries, on the right paired. "
        "Hollow: longer than any text of the model's pretraining, so its positions extrapolate (ALiBi and rotary positions "
        f"go on; no model reads beyond a table of positions). {words}"
    )
    alt = f"Lines of {tables.metric} against the number of tokens read of a document, one an encoder. {words}"
    columns = ["checkpoint", "recipe", "task", "length", "own", "extrapolates", "y", "low", "high"]
    columns += ["difference", "difference_low", "difference_high"]
    return Drawn(figure, "Lengthy retrieval: score against tokens read of a document", rows[columns], caption, alt)


def of_mean(tables: Tables, table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the mean with the columns of their checkpoint, which are missing for encoders made elsewhere."""
    about = tables.points.drop_duplicates("checkpoint")[["checkpoint", "family", "size", "level", "n_params"]]
    rows = table[table["task"] == MEAN].merge(about, on="checkpoint", how="left")
    rows = rows[rows["size"].notna() | (rows["recipe"] == GIVEN)]
    return rows.assign(order=rows["n_params"].fillna(0)).sort_values(["order", "checkpoint", "recipe", "length"])


def draw_line(ax: Axes, line: pd.DataFrame, looks: look.Looks, dash: Dash, y: str, ends: tuple[str, str]) -> None:
    """Draw one encoder's column `y` against length, with the columns `ends` as bars."""
    if line.empty:
        return
    first = next(line.itertuples())
    color = looks.colors.get(first.size, style.GRAY)
    ax.plot(line["length"], line[y], color=color, linewidth=0.9, linestyle=dash, zorder=3)
    for row in line.itertuples():
        low, high = (getattr(row, end) for end in ends)
        ax.plot([row.length] * 2, [low, high], color=color, alpha=0.4, linewidth=0.9, zorder=2)
        face = "white" if row.extrapolates else color
        marker = looks.marker(row) if row.size in looks.colors else "*"
        style_of = {"marker": marker, "color": color, "markerfacecolor": face, "linestyle": "none", "zorder": 5}
        ax.plot([row.length], [getattr(row, y)], markersize=4.2, markeredgewidth=0.9, **style_of)
        if row.own:
            ax.plot(
                [row.length],
                [getattr(row, y)],
                **style_of | {"marker": "o", "markerfacecolor": "none"},
                markersize=8,
                markeredgewidth=0.6,
            )


def length_axis(ax: Axes, lengths: pd.Series) -> None:
    ax.set_xscale("log", base=2)
    ax.set_xticks(sorted(set(lengths)))
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.tick_params("x", rotation=30)
    ax.set_xlabel("tokens read of a document")


def line_words(line: pd.DataFrame, checkpoint: str, recipe: str) -> str:
    """The difference of one encoder at its longest length, as a sentence; empty if that is its own length."""
    last, own = line.iloc[-1], line[line["own"].astype(bool)]
    if own.empty or bool(last["own"]):
        return ""
    change = interval(last["difference"], last["difference_low"], last["difference_high"])
    beyond = ", extrapolating" if last["extrapolates"] else ""
    return (
        f"{checkpoint} (`{recipe}`): {change} at {last['length']:,} against {own['length'].iloc[0]:,} tokens{beyond}."
    )

"""Fine-tuning: the loss of every training, to see that each learned and none went astray."""

import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

from retscale.common.phrase import counted
from retscale.figure import looks as look
from retscale.figure import style
from retscale.figure.config import FigureConfig
from retscale.figure.data import Drawn, Tables
from retscale.figure.words import number

COLUMNS = 2
STRETCHES = 40  # vertices of a line; a longer log is averaged to so many, over its own faint trace
SPAN = 1.5  # the top of a panel over its bottom, at least: noise must not look like learning
GUESS = {"color": "#444444", "linewidth": 1.0, "linestyle": (0, (1, 1.5))}


def draw(tables: Tables, config: FigureConfig) -> Drawn:
    """Training loss against step, one panel per recipe, one line per checkpoint that ends in the mark of its size."""
    rows = curves(tables)
    recipes = [recipe for recipe in tables.summary.recipes if recipe in set(rows["recipe"])]
    looks = look.looks(tables.points, config)
    widths = style.widths(rows["level"])

    count = math.ceil(max(len(recipes), 1) / COLUMNS)
    shape = {"nrows": count, "ncols": min(COLUMNS, max(len(recipes), 1)), "squeeze": False}
    figure, grid = plt.subplots(figsize=(config.width, 0.9 + 2.3 * count), **shape)
    for ax, recipe in zip(grid.flat, recipes, strict=False):
        panel(ax, rows[rows["recipe"] == recipe], looks, widths)
        ax.set_title(recipe, loc="left", fontweight="bold")
    for ax in grid.flat[max(len(recipes), 1) :]:
        ax.set_visible(False)
    if recipes:
        figure.supylabel("training loss (nats, log scale)", fontsize=config.font_size)
        looks.colorbar(figure, list(grid.flat))
        looks.key(figure, rows, *style.width_key(widths, rows), levels=False)
    else:
        style.placeholder(grid.flat[0], "no training to draw")

    words = " ".join(end_words(rows[rows["recipe"] == recipe], recipe) for recipe in recipes)
    caption = (
        "**Fine-tuning.** Training loss against step, one panel per recipe and one line per checkpoint, which ends "
        "in the mark of its size; the thicker the line, the more tokens per parameter the checkpoint was pretrained "
        f"on. {averaged_words(rows)}{guessing_words(rows)}"
        "What to look for: a healthy line falls fast and levels off. One that jumps or climbs was unstable, one that "
        "still falls steeply was stopped early. Compare heights within a panel only: recipes differ in how many "
        f"passages the positive competes with. Hollow: not part of the ladder. {words}"
    )
    panels = counted(len(recipes), "panel")
    alt = f"{panels} of training loss, on a log scale, against step of fine-tuning, one line per checkpoint. {words}"
    marks = rows.assign(x=rows["step"], y=rows["loss"])[["checkpoint", "recipe", "x", "y", "chance", "file"]]
    return Drawn(figure, "Fine-tuning: training loss against step", marks, caption, alt)


def curves(tables: Tables) -> pd.DataFrame:
    """Every line of the logs of the study's own seed, with what is known of its checkpoint; by checkpoint, recipe, step."""
    checkpoints = tables.points.drop_duplicates("checkpoint")[["checkpoint", "family", "size", "level", "hollow"]]
    rows = tables.collected("training")
    return rows[rows["recipe"].isin(tables.summary.recipes)].merge(checkpoints, on="checkpoint")


def averaged(log: pd.DataFrame) -> pd.DataFrame:
    """The log of one training as it is drawn: the means of STRETCHES equal parts, or itself if it is no longer."""
    if len(log) <= STRETCHES:
        return log
    part = np.arange(len(log)) * STRETCHES // len(log)
    means = log[["step", "loss"]].groupby(part).mean()
    return log.groupby(part).last().assign(step=means["step"], loss=means["loss"])


def panel(ax: Axes, rows: pd.DataFrame, looks: look.Looks, widths: dict[float, float]) -> None:
    """One recipe."""
    ax.set_yscale("log")
    many = rows["checkpoint"].nunique() > style.MANY
    for _, log in rows.groupby("checkpoint"):
        line = averaged(log)
        last = next(line.tail(1).itertuples())
        color = looks.color(last.size)
        if len(line) < len(log):
            ax.plot(log["step"], log["loss"], color=color, linewidth=0.4, alpha=0.2, zorder=1)
        ax.plot(
            line["step"],
            line["loss"],
            color=color,
            linewidth=style.THIN if many else widths.get(last.level, style.THIN),
            zorder=3,
        )
        if not many:
            looks.mark(ax, last, last.step, last.loss, size=4.2, clip_on=False)
    guess = rows["chance"].iloc[0]
    if not math.isnan(guess):
        ax.axhline(guess, zorder=2, **GUESS)
        words = f"guessing: ln {math.exp(guess):.0f} = {number(guess, 2)}"
        place = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "ha": "right", "va": "bottom"}
        behind = {"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.5}
        ax.annotate(
            words,
            (1, guess),
            (-8, 2),
            color=GUESS["color"],
            fontsize=plt.rcParams["legend.fontsize"],
            bbox=behind,
            zorder=4,
            **place,
        )
    ax.set_xlim(0, rows["steps"].max())
    ax.set_xlabel("step of fine-tuning")
    low, high = ax.get_ylim()
    room = max(SPAN / (high / low), 1) ** 0.5
    low, high = ax.set_ylim(low / room, high * room)
    few = MaxNLocator(6, steps=[1, 2, 2.5, 5, 10])
    ax.yaxis.set_major_locator(few if high < 5 * low else LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))


def averaged_words(rows: pd.DataFrame) -> str:
    """How long logs are drawn, if there are any."""
    long = (rows.groupby(["checkpoint", "recipe"]).size() > STRETCHES).any()
    return f"Lines are means over {STRETCHES} parts of a log, faint traces its entries. " if long else ""


def guessing_words(rows: pd.DataFrame) -> str:
    """What the dotted line is, if there is one."""
    if not rows["chance"].notna().any():
        return ""
    return (
        "Dotted: ln(1 + n), the loss of guessing among a query’s positive and its own n negatives; a line that stays "
        "there has learned nothing, and one may start above it, being confident and wrong. "
    )


def end_words(rows: pd.DataFrame, recipe: str) -> str:
    """Where the lines of a recipe end."""
    ends = pd.DataFrame([averaged(log).iloc[-1] for _, log in rows.groupby("checkpoint")])
    ends = ends.sort_values(["loss", "checkpoint"])
    low, high = ends.iloc[0], ends.iloc[-1]
    words = f"`{recipe}`, {counted(len(ends), 'checkpoint')} of {counted(ends['steps'].max(), 'step')}: "
    words += f"the loss ends at {number(low['loss'])} ({low['checkpoint']})"
    if len(ends) > 1:
        words += f" to {number(high['loss'])} ({high['checkpoint']})"
    if ends["chance"].notna().all():
        below = int((ends["loss"] < ends["chance"]).sum())
        words += f", below guessing ({number(low['chance'])}) for {below} of {len(ends)}"
    return words + "."

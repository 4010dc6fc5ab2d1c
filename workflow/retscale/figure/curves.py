"""Learning curves: how many training queries an encoder needs, as Luo et al. 2024 ask under data efficiency."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter, PercentFormatter, StrMethodFormatter

from retscale.figure import looks as look
from retscale.figure import style
from retscale.figure.config import FigureConfig
from retscale.figure.data import Drawn, Tables
from retscale.figure.words import number
from retscale.fit.seeds import joined_curves
from retscale.fit.variants import in_mean


def draw(tables: Tables, config: FigureConfig) -> Drawn:
    """One row per recipe. Left: mean score against training queries. Right: the first score's share of the last, by FLOPs."""
    rows, names = curves(tables)
    tasks = ", ".join(map(tables.title, names)) if len(names) < 4 else f"{len(names)} tasks"
    recipes = [recipe for recipe in tables.summary.recipes if recipe in set(rows["recipe"])]
    looks, widths = look.looks(tables.points, config), style.widths(rows["level"])
    count = max(len(recipes), 1)
    figure, grid = plt.subplots(count, 2, figsize=(config.width, 0.9 + 2.4 * count), squeeze=False)
    for (left, right), recipe in zip(grid, recipes, strict=False):
        part = rows[rows["recipe"] == recipe]
        learning(left, part, looks, widths)
        left.set_title(recipe, loc="left", fontweight="bold")
        left.set_ylabel(f"mean {tables.metric}")
        early(right, firsts(part), looks)
    if recipes:
        looks.colorbar(figure, list(grid.flat))
        looks.key(figure, rows, *style.width_key(widths, rows), levels=False)
    else:
        for ax in grid.flat:
            style.placeholder(ax, "no encoder was kept\nduring training")

    words = " ".join(recipe_words(rows[rows["recipe"] == recipe], recipe) for recipe in recipes)
    words = words or "No encoder was kept during training."
    caption = (
        f"**Learning curves.** Left: mean {tables.metric} over {tasks} of encoders kept during training, against the "
        "queries they had been trained on by then (log scale), one line per checkpoint, ending in the mark of its "
        "size; the thicker the line, the more tokens per parameter in pretraining. Right: the fraction of its last "
        "score that a checkpoint has at the first point, against pretraining FLOPs; dotted: all of it. The learning "
        "rate of a kept encoder had not decayed yet, so an encoder trained on only that many queries may do better. "
        f"Hollow: not part of the ladder. {words}"
    )
    alt = (
        f"Left: lines of mean {tables.metric} against the number of training queries, one a checkpoint. Right: marks "
        f"of the first score over the last, against pretraining FLOPs. {words}"
    )
    marks = rows.assign(task=", ".join(names))[["checkpoint", "recipe", "task", "step", "x", "y", "share", "flops"]]
    return Drawn(figure, "Learning curves: score against training queries", marks, caption, alt)


def curves(tables: Tables) -> tuple[pd.DataFrame, list[str]]:
    """One row per checkpoint, recipe and step, in this order, and the tasks and groups that the scores are means over.

    Of several trainings it is their mean. `x`: training queries; `y`: the mean, in which a group of tasks counts once;
    `share` of the last `y`, null if that is 0.
    """
    rows = joined_curves(tables.collected("curves"), tables.summary.repeats)
    rows = rows.query("metric == @tables.summary.config.metric")
    group = {task: name for name, parts in in_mean(set(rows["task"]), tables.summary).items() for task in parts}
    rows = rows.assign(group=rows["task"].map(group)).dropna(subset="group")
    encoder = ["checkpoint", "recipe"]
    key = [*encoder, "step", "queries"]
    means = rows.groupby([*key, "group"])["value"].mean().groupby(key).mean().rename("y").reset_index()
    checkpoints = tables.points.drop_duplicates("checkpoint")[
        ["checkpoint", "family", "size", "level", "flops", "hollow"]
    ]
    means = means.merge(checkpoints, on="checkpoint").sort_values(key, ignore_index=True)
    last = means.groupby(encoder)["y"].transform("last")
    return means.assign(x=means["queries"], share=means["y"] / last.where(last > 0)), sorted(rows["group"].unique())


def firsts(rows: pd.DataFrame) -> pd.DataFrame:
    """The first point of each line that has a share, of checkpoints with known FLOPs."""
    rows = rows.groupby("checkpoint").head(1)
    return rows[rows["flops"].notna() & rows["share"].notna()]


def learning(ax: Axes, rows: pd.DataFrame, looks: look.Looks, widths: dict[float, float]) -> None:
    """The lines of one recipe."""
    ax.set_xscale("log")
    many = rows["checkpoint"].nunique() > style.MANY
    for _, line in rows.groupby("checkpoint"):
        last = next(line.tail(1).itertuples())
        width = style.THIN if many else widths.get(last.level, style.THIN)
        ax.plot(line["x"], line["y"], color=looks.color(last.size), linewidth=width, marker=".", markersize=3, zorder=3)
        if not many:
            looks.mark(ax, last, last.x, last.y, size=4.2, clip_on=False)
    ax.set_xticks(sorted(rows["x"].unique()))
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.tick_params("x", rotation=30)
    ax.set_xlabel("training queries")
    widen(ax, rows["y"].max() / 10)


def early(ax: Axes, rows: pd.DataFrame, looks: look.Looks) -> None:
    """The first point of each line over its last, for one recipe."""
    if rows.empty:
        style.placeholder(ax, "no checkpoint\nwith known FLOPs")
        return
    for row in rows.itertuples():
        looks.mark(ax, row, row.flops, row.share)
    ax.axhline(1, color="#444444", linewidth=0.8, linestyle=(0, (1, 1.5)), zorder=1)
    style.flops_axis(ax, rows["flops"], label=False)
    ax.set_xlabel("pretraining FLOPs")
    widen(ax, 0.1)
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.set_ylabel("first score / last score")


def widen(ax: Axes, least: float) -> None:
    """Make the vertical axis span at least `least`: noise must not look like learning."""
    low, high = ax.get_ylim()
    if (room := least - (high - low)) > 0:
        ax.set_ylim(low - room / 2, high + room / 2)


def recipe_words(rows: pd.DataFrame, recipe: str) -> str:
    """What the curves of a recipe come to."""
    first = rows.groupby("checkpoint").head(1).dropna(subset="share").sort_values(["share", "checkpoint"])
    if first.empty:
        return f"`{recipe}`: no checkpoint has a last score above 0."
    low, high = first.iloc[0], first.iloc[-1]
    words = f"`{recipe}`: after {low['x']:,} of {rows['x'].max():,} queries "
    if len(first) == 1:
        return f"{words}{low['checkpoint']} has {low['share']:.0%} of its last score."
    words += (
        f"the checkpoints have {low['share']:.0%} ({low['checkpoint']}) to {high['share']:.0%} ({high['checkpoint']})"
    )
    words += " of their last score"
    known = firsts(rows)
    if len(known) > 3:
        rho = known["share"].corr(known["flops"], method="spearman")
        words += f"; Spearman of this share with pretraining FLOPs {number(rho, 2)} over {len(known)} checkpoints"
    return f"{words}."

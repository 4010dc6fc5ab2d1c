"""Figure 1A: growth with size at fixed tokens per parameter."""

from collections.abc import Iterator

import matplotlib.pyplot as plt
import pandas as pd

from retscale.collect.means import MEAN
from retscale.figure import looks as look
from retscale.figure import published, references, style
from retscale.figure.config import FigureConfig
from retscale.figure.data import Drawn, Tables, marks, published_marks
from retscale.figure.words import bar_words, ladder_words

DASH = 10  # points


def draw(tables: Tables, config: FigureConfig) -> Drawn:
    """The mean score against FLOPs, one line per level of tokens per parameter, one marker per size."""
    rows = tables.of(tables.main, MEAN)
    others, systems = tables.published_of(MEAN), references.of(tables, MEAN)
    looks = look.looks(tables.points, config)
    figure, ax = plt.subplots(figsize=(config.width, config.width * 0.5))
    lines = {key: line for key, line in _lines(rows) if line["size"].nunique() >= 2}
    levels = sorted({level for _, level in lines})
    for line in lines.values():
        ax.plot(line["flops"], line["y"], color=style.GRAY, linewidth=0.9, zorder=2)
    repeated = tables.trainings(tables.main, MEAN)
    for row in repeated.itertuples():
        ax.plot(
            row.flops, row.y, marker="_", markersize=DASH, markeredgewidth=0.6, color=looks.color(row.size), zorder=4
        )
    for row in rows.itertuples():
        style.bar(ax, row, looks.color(row.size), len(rows) > style.MANY)
        looks.mark(ax, row, row.flops, row.y)
    published.draw(ax, others)
    if rows.empty:
        style.placeholder(ax, "no checkpoint with known compute\nand a score on every task")
    else:
        style.flops_axis(ax, pd.concat([rows["flops"], others["flops"]]))
        ax.set_ylabel(f"mean {tables.metric} over {tables.averaged_over}")
        references.draw(ax, systems, config)
    looks.colorbar(figure, ax)
    looks.key(figure, rows, ("", published.legend(others)))
    published.name(ax, others)

    note = references.words(systems)
    named = ", ".join(f"{level:.3g}" for level in levels)
    joined = (
        f"Lines join checkpoints of equal tokens per parameter ({named}; computed from parameters and tokens), so "
        "along a line model "
        "and data grow together; checkpoints that are alone on their level have no line."
        if levels
        else "No two sizes share a level of tokens per parameter, so no line is drawn."
    )
    caption = (
        "**Figure 1A. Retrieval against pretraining compute at fixed tokens per parameter.** Mean "
        f"{tables.metric} over {tables.averaged_over} against pretraining FLOPs (6 × parameters × tokens)"
        f"{tables.by_recipe}. {joined} "
        f"{looks.words()} {bar_words(rows, f'{tables.percent} interval {tables.over} (bootstrap, tasks as strata)')}"
        f"{'Dashes: each training of a checkpoint with several seeds, whose mark is their mean. ' * (len(repeated) > 0)}"
        f"Hollow: not part of the ladder.{note}{published.words(tables)}"
    )
    alt = f"Scatter plot with lines, logarithmic FLOPs against mean {tables.metric}. {ladder_words(rows)} " + " ".join(
        _rise(line, level, tables.metric) for (_, level), line in lines.items()
    )
    alt += note + published.words(tables)
    parts = [marks(pd.concat([rows, systems])), marks(repeated), published_marks(others)]
    return Drawn(
        figure,
        "Figure 1A: retrieval against pretraining FLOPs at fixed tokens per parameter",
        pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True),
        caption,
        alt,
    )


def _lines(rows: pd.DataFrame) -> Iterator[tuple[tuple, pd.DataFrame]]:
    """The checkpoints of each family and level, with both, from small to large."""
    for key, line in rows[~rows["hollow"]].groupby(["family", "level"]):
        yield key, line.sort_values("n_params")


def _rise(line: pd.DataFrame, level: float, metric: str) -> str:
    first, last = line.iloc[0], line.iloc[-1]
    return (
        f"At {level:.3g} tokens per parameter {metric} goes from {first['y']:.3f} ({first['size']}) to "
        f"{last['y']:.3f} ({last['size']})."
    )

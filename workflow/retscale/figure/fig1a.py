"""Figure 1A: growth with size at fixed tokens per parameter."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.lines import Line2D

from retscale.collect.means import MEAN
from retscale.figure import published, style
from retscale.figure.config import FigureConfig
from retscale.figure.data import Drawn, Tables, marks, published_marks
from retscale.figure.words import ladder_words


def draw(tables: Tables, config: FigureConfig) -> Drawn:
    """The mean score against FLOPs, one line per level of tokens per parameter, one marker per size."""
    rows = tables.of(tables.main, MEAN)
    others = tables.published_of(MEAN)
    looks = style.looks(tables.points, config)
    figure, ax = plt.subplots(figsize=(config.width, config.width * 0.5))
    shared = rows[~rows["hollow"]].groupby("level")["size"].nunique()
    levels = sorted(level for level, sizes in shared.items() if sizes >= 2)
    handles = []
    for i, level in enumerate(levels):
        line = rows[(rows["level"] == level) & ~rows["hollow"]].sort_values("n_params")
        gray = str(0.25 + 0.4 * i / max(len(levels) - 1, 1))
        dashes = style.DASHES[i % len(style.DASHES)]
        ax.plot(line["flops"], line["y"], color=gray, linestyle=dashes, zorder=2)
        handles.append(Line2D([], [], color=gray, linestyle=dashes, label=f"{level:.3g}"))
    for row in rows.itertuples():
        ax.plot([row.flops] * 2, [row.low, row.high], color=looks[row.size].color, alpha=0.5, linewidth=1, zorder=3)
        style.mark(ax, row, looks[row.size], row.flops, row.y, row.hollow)
    published.draw(ax, others, names=True)
    if rows.empty:
        style.placeholder(ax, "no checkpoint with known compute\nand a score on every task")
    else:
        style.flops_axis(ax, pd.concat([rows["flops"], others["flops"]]))
        ax.set_ylabel(f"mean {tables.metric} over {tables.averaged_over}")
    if handles:
        first = figure.legend(handles=handles, title="tokens per\nparameter", loc="outside right upper", handlelength=3)
        first._legend_box.align = "left"
    sizes = figure.legend(
        handles=style.size_legend(looks, list(rows["size"])) + published.legend(others),
        title="parameters",
        loc="outside right lower",
    )
    sizes._legend_box.align = "left"

    named = ", ".join(f"{level:.3g}" for level in levels)
    lines = (
        f"Lines join checkpoints of equal tokens per parameter ({named}; computed from parameters and tokens), so "
        "along a line model "
        "and data grow together; checkpoints that are alone on their level have no line."
        if levels
        else "No two sizes share a level of tokens per parameter, so no line is drawn."
    )
    caption = (
        "**Figure 1A. Retrieval against pretraining compute at fixed tokens per parameter.** Mean "
        f"{tables.metric} over {tables.averaged_over} against pretraining FLOPs (6 × parameters × tokens), recipe "
        f"`{tables.main}`. {lines} "
        f"Color and marker: size. Vertical bars: {tables.percent} interval over queries (bootstrap, tasks as strata). "
        f"Hollow: not part of the ladder.{published.words(tables)}"
    )
    alt = f"Scatter plot with lines, logarithmic FLOPs against mean {tables.metric}. {ladder_words(rows)} " + " ".join(
        _rise(rows, level, tables.metric) for level in levels
    )
    alt += published.words(tables)
    return Drawn(
        figure,
        "Figure 1A: retrieval against pretraining FLOPs at fixed tokens per parameter",
        pd.concat([marks(rows), published_marks(others)], ignore_index=True),
        caption,
        alt,
    )


def _rise(rows: pd.DataFrame, level: float, metric: str) -> str:
    line = rows[(rows["level"] == level) & ~rows["hollow"]].sort_values("n_params")
    first, last = line.iloc[0], line.iloc[-1]
    return (
        f"At {level:.3g} tokens per parameter {metric} goes from {first['y']:.3f} ({first['size']}) to "
        f"{last['y']:.3f} ({last['size']})."
    )

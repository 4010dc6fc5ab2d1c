"""Pairs of equal compute: does the larger or the longer trained model retrieve better?"""

from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from retscale.common.phrase import counted
from retscale.figure import style
from retscale.figure.config import FigureConfig
from retscale.figure.data import Drawn, Tables
from retscale.figure.words import interval, short
from retscale.fit.rules import MARGIN

MOST = 45  # rows that a page holds


def draw(tables: Tables, config: FigureConfig) -> Drawn:
    """A forest plot: larger minus smaller model, without the growth that the ratio of FLOPs brings."""
    rows = tables.table("isoflop_pairs").query("recipe == @tables.main and iso_flop and adjusted.notna()")
    rows = rows.sort_values(["flops_small", "checkpoint_small", "checkpoint_large"], ignore_index=True)
    shown = rows.head(MOST)
    params = tables.points.drop_duplicates("checkpoint").set_index("checkpoint")["n_params"]
    figure, ax = plt.subplots(figsize=(config.width, 1.1 + 0.17 * max(len(shown), 4)))
    for place, row in enumerate(shown.itertuples()):
        ax.plot([row.low, row.high], [place] * 2, color=style.GRAY, linewidth=1.0, zorder=2)
        if pd.notna(row.query_low):
            shift = row.adjusted - row.difference
            ends = [row.query_low + shift, row.query_high + shift]
            ax.plot(ends, [place] * 2, color=config.trend, linewidth=2.2, zorder=3)
        ax.plot([row.adjusted], [place], marker="o", markersize=4, color=config.trend, zorder=4)
    if shown.empty:
        style.placeholder(ax, "no two sizes of nearly equal compute")
    else:
        ax.axvspan(-MARGIN, MARGIN, color="#e8e8e8", linewidth=0, zorder=0)
        ax.axvline(0, color="#444444", linewidth=0.8, zorder=1)
        ax.set_yticks(range(len(shown)), [pair_name(row, params) for row in shown.itertuples()])
        ax.set_ylim(len(shown) - 0.4, -0.6)
        ax.set_xlabel(f"{tables.metric} of the larger model minus that of the smaller one")
        handles = [
            Line2D([], [], color=config.trend, linewidth=2.2, label="these encoders"),
            Line2D([], [], color=style.GRAY, linewidth=1.0, label="two new trainings"),
            Patch(color="#e8e8e8", label=f"±{MARGIN:g}"),
        ]
        handles = handles if shown["query_low"].notna().any() else handles[1:]
        figure.legend(handles=handles, loc="outside upper center", ncols=3)

    delta = tables.split(tables.main)
    verdict = (
        ""
        if delta is None or pd.isna(delta["delta"])
        else f" Over all checkpoints: {delta['verdict']}, {interval(delta['delta'], delta['low'], delta['high'])} per decade of tokens per parameter at fixed FLOPs."
    )
    more = f" {len(rows) - len(shown)} further pairs are in isoflop_pairs.csv." if len(rows) > len(shown) else ""
    caption = (
        f"**Pairs of equal compute.** Two sizes of one family within {tables.summary.config.near:g} times the FLOPs: mean "
        f"{tables.metric} of the larger model minus that of the smaller one, which was trained longer, without the growth "
        f"that the rest of the ratio brings. Thick: {tables.percent} interval over queries, of these encoders; thin: of two "
        f"new trainings. Gray: differences that do not matter.{verdict}{more}"
    )
    alt = f"Forest plot of {counted(len(rows), 'pair')} of nearly equal compute, larger minus smaller model, with intervals.{verdict} "
    alt += "; ".join(
        f"{row.checkpoint_large} minus {row.checkpoint_small} {interval(row.adjusted, row.low, row.high)}"
        for row in shown.itertuples()
    )
    columns = ["recipe", "checkpoint_small", "checkpoint_large", "adjusted", "low", "high", "query_low", "query_high"]
    marks = shown[columns].rename(columns={"adjusted": "x", "checkpoint_large": "checkpoint"})
    return Drawn(figure, "Pairs of equal pretraining compute", marks, caption, alt)


def pair_name(row: Any, params: pd.Series) -> str:
    """`1.3B × 20 − 350M × 270`: parameters and tokens per parameter of both."""
    sides = [
        f"{short(params[row.checkpoint_large])} × {short(row.tokens_per_param_large)}",
        f"{short(params[row.checkpoint_small])} × {short(row.tokens_per_param_small)}",
    ]
    return " − ".join(sides)

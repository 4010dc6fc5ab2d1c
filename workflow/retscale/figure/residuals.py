"""What compute leaves: scores without their trend, against tokens per parameter."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from retscale.collect.means import MEAN
from retscale.figure import looks as look
from retscale.figure import style
from retscale.figure.config import FigureConfig
from retscale.figure.data import Drawn, Tables, marks
from retscale.figure.words import interval


def draw(tables: Tables, config: FigureConfig) -> Drawn:
    """The mean score minus its log-linear trend; the slope of what is left is the effect of the split of FLOPs."""
    rows = tables.of(tables.main, MEAN).query("role == 'fit' and not hollow and tokens_per_param.notna()")
    trend = tables.trend(tables.main, MEAN)
    looks = look.looks(tables.points, config)
    figure, ax = plt.subplots(figsize=(config.width, config.width * 0.45))
    if trend is None or pd.isna(trend["slope"]):
        rows = rows.head(0)
        style.placeholder(ax, "no trend could be fitted")
    rows = rows.assign(left=without_trend(rows, trend["slope"] if len(rows) else 0.0))
    delta = tables.split(tables.main)
    if len(rows):
        ax.axhline(0, color="#444444", linewidth=0.8, zorder=1)
        ratio = np.log10(rows["tokens_per_param"].astype(float))
        if delta is not None and pd.notna(delta["delta"]):
            grid = np.linspace(ratio.min(), ratio.max(), 50)
            away = grid - ratio.mean()
            ends = delta["low"] * away, delta["high"] * away
            ax.fill_between(10**grid, np.minimum(*ends), np.maximum(*ends), color=config.trend, alpha=0.25, linewidth=0)
            ax.plot(10**grid, delta["delta"] * away, color=config.trend, zorder=2)
        for row in rows.itertuples():
            looks.mark(ax, row, row.tokens_per_param, row.left)
        style.plain_log_axis(ax)
        ax.set_xlabel("tokens per parameter in pretraining")
        ax.set_ylabel(f"mean {tables.metric} − trend in FLOPs")
        looks.colorbar(figure, ax)
        looks.key(figure, rows, levels=False)

    words = split_words(tables, delta)
    caption = (
        f"**What compute leaves.** Mean {tables.metric} over {tables.averaged_over} minus its log-linear trend in FLOPs"
        f"{', each family minus its mean' if looks.families else ''}{tables.by_recipe}, against tokens per parameter. "
        f"At equal FLOPs a flat cloud says that small models trained longer match larger ones. {words}"
    )
    alt = f"Scatter plot of residuals against tokens per parameter, logarithmic. {words}"
    drawn = marks(rows, x=rows["tokens_per_param"], y=rows["left"], low=None, high=None)
    return Drawn(figure, "What compute leaves, against tokens per parameter", drawn, caption, alt)


def without_trend(rows: pd.DataFrame, slope: float) -> pd.Series:
    """y minus the growth with FLOPs, centred within each family."""
    left = rows["y"] - slope * np.log10(rows["flops"].astype(float))
    return left - left.groupby(rows["family"]).transform("mean")


def split_words(tables: Tables, delta: pd.Series | None) -> str:
    """The effect of the split with its interval, or why there is none."""
    if delta is None or pd.isna(delta["delta"]):
        return f"No effect is estimated: {'no trend' if delta is None else delta['reason']}."
    return (
        f"Line and band: {interval(delta['delta'], delta['low'], delta['high'])} per decade of tokens per parameter at "
        f"fixed FLOPs ({tables.percent} interval, restricted maximum likelihood with effects of size)."
    )

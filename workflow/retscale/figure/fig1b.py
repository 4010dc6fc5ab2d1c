"""Figure 1B: every checkpoint against compute, with the trend."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from retscale.collect.means import MEAN
from retscale.figure import looks as look
from retscale.figure import published, references, style
from retscale.figure.config import FigureConfig
from retscale.figure.data import Drawn, Tables, marks, published_marks
from retscale.figure.words import bar_words, ladder_words

CONFIDENCE, PREDICTION = 0.30, 0.10  # opacity of the bands
BEYOND = "#faf4e4"  # a warm ground, since the bands are gray


def draw(tables: Tables, config: FigureConfig) -> Drawn:
    """The mean score against FLOPs; lines join the checkpoints of a size, that is, training longer."""
    rows = tables.of(tables.main, MEAN)
    lines = references.of(tables, MEAN)
    band = tables.prediction(tables.main, MEAN)
    others = tables.published_of(MEAN)
    looks = look.looks(tables.points, config)
    figure, ax = plt.subplots(figsize=(config.width, config.width * 0.5))

    trend_and_bands(ax, band, config)
    for (size, hollow), line in rows[rows["role"] == "fit"].groupby(["size", "hollow"]):
        dashes = (0, (2, 1.5)) if hollow else "-"
        ax.plot(line["flops"], line["y"], color=looks.color(size), linewidth=0.9, linestyle=dashes, zorder=3)
    for row in rows.itertuples():
        style.bar(ax, row, looks.color(row.size), len(rows) > style.MANY)
        looks.mark(ax, row, row.flops, row.y)
    published.draw(ax, others)
    if rows.empty:
        style.placeholder(ax, "no checkpoint with known compute\nand a score on every task")
    else:
        style.flops_axis(ax, pd.concat([rows["flops"], others["flops"]]), to=band["flops"].max() if len(band) else None)
        ax.set_ylabel(f"mean {tables.metric} over {tables.averaged_over}")
        ax.set_ylim(*window(pd.concat([rows, others]), band))
        references.draw(ax, lines, config)

    looks.colorbar(figure, ax)
    bands = band_legend(config) if len(band) else []
    looks.key(figure, rows, ("", published.legend(others)), ("trend", bands))
    published.name(ax, others)

    words = tables.trend_words(tables.main, MEAN)
    note = references.words(lines)
    caption = (
        f"**Figure 1B. Retrieval against pretraining compute, all checkpoints.** Mean {tables.metric} over "
        f"{tables.averaged_over}{tables.by_recipe}; colored lines join checkpoints of one "
        "size, trained on more "
        f"tokens to the right. {looks.words()} {words} "
        + (
            f"Dark band: {tables.percent} confidence band of the trend; light band: {tables.percent} prediction "
            "band for a new "
            "checkpoint of a new size; dashed over yellow: extrapolation. "
            if len(band)
            else ""
        )
        + f"{bar_words(rows, f'{tables.percent} interval {tables.over}')}Hollow: not in the fit.{note}{published.words(tables)}"
    )
    alt = f"Scatter plot, logarithmic FLOPs against mean {tables.metric}. {ladder_words(rows)} {words}{note}{published.words(tables)}"
    drawn = pd.concat([marks(pd.concat([rows, lines])), published_marks(others)], ignore_index=True)
    return Drawn(figure, "Figure 1B: retrieval against pretraining FLOPs, all checkpoints", drawn, caption, alt)


def trend_and_bands(ax: Axes, band: pd.DataFrame, config: FigureConfig, prediction: bool = True) -> None:
    """The line, solid over the data and dashed in a shaded extrapolation, with its bands."""
    if band.empty:
        return
    x = band["flops"]
    fill = {"color": config.trend, "linewidth": 0, "zorder": 1}
    if prediction:
        ax.fill_between(x, band["prediction_low"], band["prediction_high"], alpha=PREDICTION, **fill)
    ax.fill_between(x, band["confidence_low"], band["confidence_high"], alpha=CONFIDENCE, **fill)
    inside, beyond = band[~band["extrapolated"]], band[band["extrapolated"]]
    ax.plot(inside["flops"], inside["y"], color=config.trend, zorder=2)
    if len(beyond):
        joined = pd.concat([inside.tail(1), beyond])
        ax.plot(joined["flops"], joined["y"], color=config.trend, linestyle=(0, (4, 2)), zorder=2)
        ax.axvspan(joined["flops"].iloc[0], joined["flops"].iloc[-1], color=BEYOND, linewidth=0, zorder=0)


def window(rows: pd.DataFrame, band: pd.DataFrame) -> tuple[float, float]:
    """Limits of y that show every mark and the line; of wide bands at most half as much again."""
    low, high = rows[["low", "y"]].astype(float).min(axis=None), rows[["high", "y"]].astype(float).max(axis=None)
    room = max(high - low, 0.02)
    if len(band):
        low = min(low, band["y"].min(), max(band["prediction_low"].min(), low - room / 2))
        high = max(high, band["y"].max(), min(band["prediction_high"].max(), high + room / 2))
    return max(low - 0.05 * room, 0.0), min(high + 0.05 * room, 1.0)


def band_legend(config: FigureConfig) -> list:
    """What line and bands are."""
    return [
        Line2D([], [], color=config.trend, label="fitted"),
        Patch(color=config.trend, alpha=CONFIDENCE + PREDICTION, linewidth=0, label="confidence"),
        Patch(color=config.trend, alpha=PREDICTION, linewidth=0, label="prediction"),
        Patch(color=BEYOND, linewidth=0, label="extrapolation"),
    ]

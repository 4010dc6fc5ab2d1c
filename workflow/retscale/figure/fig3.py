"""Figure 3: in-context learning against retrieval."""

import matplotlib.pyplot as plt
import pandas as pd

from retscale.collect.means import MEAN
from retscale.common.phrase import counted
from retscale.figure import looks as look
from retscale.figure import style
from retscale.figure.config import FigureConfig
from retscale.figure.data import Drawn, Tables, marks
from retscale.figure.words import interval, ladder_words, number


def draw(tables: Tables, config: FigureConfig) -> Drawn:
    """Mean in-context score, and bits per byte where the study has them, against mean retrieval score: one mark each."""
    icl = tables.table("icl_points")
    tasks = icl[(icl["task"] != MEAN) & icl["file"].notna()]["task"].nunique()
    headline = tables.summary.icl_headline
    icl_score = f"{headline} of the gauntlet" if headline else f"mean in-context score over {counted(tasks, 'task')}"
    z = _quantile(tables.summary.config.alpha)  # a normal approximation: means over many items
    rows = tables.of(tables.main, MEAN).merge(_means(icl, "score", z, "x"), on="checkpoint")
    bits = tables.table("icl_bits")
    rows = rows.merge(_means(bits, "bits_per_byte", z, "bits"), on="checkpoint", how="left")
    looks = look.looks(tables.points, config)

    panels = ["x", "bits"] if rows["bits"].notna().any() else ["x"]
    figure, axes = plt.subplots(1, len(panels), sharey=True, squeeze=False, figsize=(config.width, config.width * 0.5))
    axes = axes.ravel()
    for ax, x in zip(axes, panels):
        for row in rows[rows[x].notna()].itertuples():
            at, low, high = getattr(row, x), getattr(row, f"{x}_low"), getattr(row, f"{x}_high")
            bar = {"color": looks.color(row.size), "alpha": 0.45, "linewidth": 1, "zorder": 3}
            ax.plot([at] * 2, [row.low, row.high], **bar)
            ax.plot([low, high], [row.y] * 2, **bar)
            looks.mark(ax, row, at, row.y)
    if rows.empty:
        style.placeholder(axes[0], "no checkpoint has both scores")
    else:
        between = ",\n" if len(panels) > 1 else ", "
        axes[0].set_xlabel(f"{icl_score}{between}(accuracy − baseline) / (1 − baseline)")
        axes[0].set_ylabel(f"mean {tables.metric} over {tables.averaged_over}")
    if len(panels) > 1:
        axes[1].invert_xaxis()
        axes[1].set_xlabel("mean bits per byte of the right answer,\nfewer are better: the axis is reversed")
    looks.colorbar(figure, axes)
    looks.key(figure, rows)

    words = correlation_words(tables)
    right = bits_words(tables, bits) if len(panels) > 1 else ""
    side = "Left: b" if len(panels) > 1 else "B"
    caption = (
        f"**Figure 3. In-context learning against retrieval.** {side}aseline-subtracted accuracy of the pretrained "
        f"checkpoint ({icl_score}) "
        f"against mean {tables.metric} of its encoder{tables.by_recipe}. {words}{right} Bars: "
        f"{tables.percent} intervals over "
        "items (normal) and queries (bootstrap). Both scores grow with compute, so a high correlation by itself "
        "does not say that one "
        "ability predicts the other beyond compute. Hollow: not part of the ladder."
    )
    alt = f"Scatter plot of mean in-context score against mean {tables.metric}. {ladder_words(rows)} {words}{right}"
    drawn = marks(rows, x=rows["x"], x_low=rows["x_low"], x_high=rows["x_high"])
    drawn = drawn.assign(bits=rows["bits"], bits_low=rows["bits_low"], bits_high=rows["bits_high"])
    return Drawn(figure, "Figure 3: in-context learning against retrieval", drawn, caption, alt)


def _means(points: pd.DataFrame, value: str, z: float, name: str) -> pd.DataFrame:
    """Of each checkpoint the mean over tasks as the column `name`, with the ends of its interval."""
    means = points[points["task"] == MEAN]
    at, half = means[value].astype(float), z * means["stderr"].astype(float)
    return pd.DataFrame(
        {"checkpoint": means["checkpoint"], name: at, f"{name}_low": at - half, f"{name}_high": at + half}
    )


def bits_words(tables: Tables, bits: pd.DataFrame) -> str:
    """What the panel of bits per byte shows, with its coefficient, as sentences behind others."""
    tasks = bits[bits["task"] != MEAN]["task"].nunique()
    words = (
        f" Right: bits per byte of the right answer, mean over {counted(tasks, 'task')}; fewer are better, so the axis is "
        "reversed, and better lies to the right in both panels."
    )
    rows = tables.table("correlations").query("headline and about == 'bits-retrieval'").set_index("method")
    if rows.empty or rows.loc["pearson", "status"] != "ok":
        return words
    row = rows.loc["pearson"]
    r = interval(row["value"], row["low"], row["high"], 3)
    return f"{words} Pearson r = {r}, below 0 where fewer bits go with better retrieval."


def correlation_words(tables: Tables) -> str:
    """The coefficients as sentences, or why there are none."""
    rows = tables.table("correlations").query("headline and about == 'icl-retrieval'").set_index("method")
    if rows.empty:
        return "No correlation: no checkpoint of the ladder has both scores."
    if rows.loc["pearson", "status"] != "ok":
        return f"No correlation: {rows.loc['pearson', 'reason']}."
    parts = []
    for method, symbol in {"pearson": "Pearson r", "spearman": "Spearman ρ", "kendall": "Kendall τ"}.items():
        row = rows.loc[method]
        p = "" if pd.isna(row["p"]) else f" (p {_p(row['p'])}, permuted within sizes)"
        parts.append(f"{symbol} = {interval(row['value'], row['low'], row['high'], 3)}{p}")
    bounded = not pd.isna(rows.loc["pearson", "low"])
    how = (
        f"; {tables.percent} intervals resample whole sizes"
        if bounded
        else ", without intervals because there are too few sizes"
    )
    words = f"Over {rows.loc['pearson', 'n']} checkpoints: {', '.join(parts)}{how}."
    beyond = tables.beyond_compute
    if beyond is None or beyond["status"] != "ok":
        return f"{words} Beyond compute: {'no result' if beyond is None else beyond['reason']}."
    partial = interval(beyond["value"], beyond["low"], beyond["high"], 2)
    return f"{words} Beyond compute, given sizes and tokens: partial r = {partial} (p {_p(beyond['p'])})."


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {number(value)}"


def _quantile(alpha: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf(1 - alpha / 2)

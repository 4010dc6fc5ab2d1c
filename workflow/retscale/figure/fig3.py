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
    """Mean in-context score against mean retrieval score, one mark per checkpoint."""
    icl = tables.table("icl_points")
    tasks = icl[(icl["task"] != MEAN) & icl["file"].notna()]["task"].nunique()
    headline = tables.summary.icl_headline
    icl_score = f"{headline} of the gauntlet" if headline else f"mean in-context score over {counted(tasks, 'task')}"
    icl = icl[icl["task"] == MEAN][["checkpoint", "score", "stderr"]]
    rows = tables.of(tables.main, MEAN).merge(icl, on="checkpoint")
    looks = look.looks(tables.points, config)
    # A normal approximation: a mean over many items.
    half = rows["stderr"].astype(float) * _quantile(tables.summary.config.alpha)
    rows = rows.assign(x_low=rows["score"] - half, x_high=rows["score"] + half)

    figure, ax = plt.subplots(figsize=(config.width, config.width * 0.5))
    for row in rows.itertuples():
        bar = {"color": looks.color(row.size), "alpha": 0.45, "linewidth": 1, "zorder": 3}
        ax.plot([row.score] * 2, [row.low, row.high], **bar)
        ax.plot([row.x_low, row.x_high], [row.y] * 2, **bar)
        looks.mark(ax, row, row.score, row.y)
    if rows.empty:
        style.placeholder(ax, "no checkpoint has both scores")
    else:
        ax.set_xlabel(f"{icl_score}, (accuracy − baseline) / (1 − baseline)")
        ax.set_ylabel(f"mean {tables.metric} over {tables.averaged_over}")
    looks.colorbar(figure, ax)
    looks.key(figure, rows)

    words = correlation_words(tables)
    caption = (
        "**Figure 3. In-context learning against retrieval.** Baseline-subtracted accuracy of the pretrained "
        f"checkpoint ({icl_score}) "
        f"against mean {tables.metric} of its encoder{tables.by_recipe}. {words} Bars: "
        f"{tables.percent} intervals over "
        "items (normal) and queries (bootstrap). Both scores grow with compute, so a high correlation by itself "
        "does not say that one "
        "ability predicts the other beyond compute. Hollow: not part of the ladder."
    )
    alt = f"Scatter plot of mean in-context score against mean {tables.metric}. {ladder_words(rows)} {words}"
    drawn = marks(rows, x=rows["score"], x_low=rows["x_low"], x_high=rows["x_high"])
    return Drawn(figure, "Figure 3: in-context learning against retrieval", drawn, caption, alt)


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

"""The forms of fit that the data allow, what each forecasts, and how such forecasts did before."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from retscale.collect.means import MEAN
from retscale.common.phrase import counted
from retscale.figure import looks as look
from retscale.figure import style
from retscale.figure.config import FigureConfig
from retscale.figure.data import Drawn, Tables, marks
from retscale.figure.words import interval

DASHES = ["-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1, 1.5)), (0, (8, 2)), (0, (3, 1, 1, 1, 1, 1))]


def draw(tables: Tables, config: FigureConfig) -> Drawn:
    """Left: every form within 4 of the least AICc, and the union of their prediction bands. Right: the largest size,
    predicted from the others.
    """
    rows = tables.of(tables.main, MEAN).query("role == 'fit' and not hollow")
    looks = look.looks(tables.points, config)
    curves = tables.of_mean("predictions", tables.main)
    allowed = list(tables.of_mean("selection", tables.main).query("in_set").sort_values("aicc")["form"])
    held_out = tables.of_mean("held_out", tables.main).query("form == 'set'")
    backtest = tables.of_mean("backtest", tables.main).query("form == 'set'")
    figure, (left, right) = plt.subplots(1, 2, figsize=(config.width, config.width * 0.45), sharey=False)
    union = curves.query("form == 'set'")
    handles = []
    if len(union):
        left.fill_between(
            union["flops"],
            union["prediction_low"],
            union["prediction_high"],
            color=config.trend,
            alpha=0.15,
            linewidth=0,
        )
    for number, form in enumerate(allowed):
        line = curves.query("form == @form")
        dashes = DASHES[number % len(DASHES)]
        left.plot(line["flops"], line["y"], color=config.trend, linestyle=dashes, linewidth=1.0, zorder=3)
        handles.append(Line2D([], [], color=config.trend, linestyle=dashes, linewidth=1.0, label=form))
    for row in rows.itertuples():
        looks.mark(left, row, row.flops, row.y, size=3.5)
    if rows.empty or not allowed:
        style.placeholder(left, "no form could be fitted")
    else:
        style.flops_axis(left, rows["flops"], to=float(curves["flops"].max()), label=False)
        left.set_xlabel("pretraining compute (FLOPs)")
        left.set_ylabel(f"mean {tables.metric}")
        handles.append(
            Patch(
                color=config.trend,
                alpha=0.15,
                linewidth=0,
                label=f"{tables.percent} prediction,\nunion of forms",
            )
        )
    known = rows.set_index("checkpoint")
    for row in held_out.itertuples():
        right.plot([row.y] * 2, [row.low, row.high], color=style.GRAY, linewidth=1.0, zorder=2)
        if row.checkpoint in known.index:
            mark = next(known.loc[[row.checkpoint]].reset_index().itertuples())
            looks.mark(right, mark, row.y, row.predicted, size=3.5)
    if held_out.empty:
        style.placeholder(right, "too few sizes to hold one out")
    else:
        low, high = min(held_out["y"].min(), held_out["low"].min()), max(held_out["y"].max(), held_out["high"].max())
        right.plot([low, high], [low, high], color="#444444", linewidth=0.8, zorder=1)
        right.set_xlabel(f"measured mean {tables.metric}")
        right.set_ylabel("predicted from smaller sizes")
    looks.colorbar(figure, [left, right])
    looks.key(figure, rows, ("form", handles), levels=False)

    words = f"{backtest_words(backtest, tables)} {forecast_words(tables)}"
    caption = (
        f"**Forms and forecasts.** Left: mean {tables.metric} over {tables.averaged_over}{tables.by_recipe}, and every "
        f"form of fit whose AICc lies within 4 of the least ({', '.join(allowed) or 'none'}); shaded: the union of their "
        f"{tables.percent} prediction bands. Right: each size predicted from the smaller ones, with its prediction interval, "
        f"against what was measured. {words}"
    )
    alt = f"Curves of {counted(len(allowed), 'form')} through {counted(len(rows), 'checkpoint')}; and predictions of held-out sizes. {words}"
    return Drawn(figure, "Forms of fit, forecasts and their backtest", marks(rows), caption, alt)


def backtest_words(backtest: pd.DataFrame, tables: Tables) -> str:
    """How often held-out sizes lay in their intervals."""
    parts = [
        f"{row.scheme}: {row.hits:g} of {row.n:g} inside, median width {row.width:.3f}"
        for row in backtest.itertuples()
        if row.status == "ok"
    ]
    return f"Backtest of {tables.percent} intervals ({'; '.join(parts)})." if parts else "No backtest is possible."


def forecast_words(tables: Tables) -> str:
    """The forecasts that the data allow, and the ones that are refused."""
    rows = tables.of_mean("targets", tables.main).query("form == 'set'")
    forecasts = [
        f"{row.target} {interval(row.y, row.low, row.high)}" for row in rows.itertuples() if row.status == "ok"
    ]
    refused = [row.target for row in rows.itertuples() if row.status != "ok"]
    words = f"Forecasts: {'; '.join(forecasts)}." if forecasts else ""
    return f"{words} Refused as too far or too uncertain: {', '.join(refused)}." if refused else words

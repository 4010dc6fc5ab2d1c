"""In-context learning against retrieval, when what size and duration make of both is taken away."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from retscale.collect.means import MEAN
from retscale.figure import looks as look
from retscale.figure import style
from retscale.figure.config import FigureConfig
from retscale.figure.data import Drawn, Tables, marks
from retscale.figure.words import interval, number
from retscale.fit.partial import control


def draw(tables: Tables, config: FigureConfig) -> Drawn:
    """Partial residuals of the mean scores, one mark per checkpoint of the ladder."""
    icl = tables.table("icl_points").query(f"task == '{MEAN}'")[["checkpoint", "score"]]
    rows = tables.of(tables.main, MEAN).query("role == 'fit' and not hollow").merge(icl, on="checkpoint")
    result = tables.beyond_compute
    looks = look.looks(tables.points, config)
    figure, ax = plt.subplots(figsize=(config.width, config.width * 0.45))
    if result is None or result["status"] != "ok":
        rows = rows.head(0)
    sizes = np.unique(rows["size"], return_inverse=True)[1]
    taken = control(np.log(rows["n_params"].to_numpy(float)), np.log(rows["n_tokens"].to_numpy(float)), sizes)
    left = {name: taken.residuals(rows[name].to_numpy(float)) if len(rows) else [] for name in ("score", "y")}
    rows = rows.assign(x_left=left["score"], y_left=left["y"])
    for row in rows.itertuples():
        looks.mark(ax, row, row.x_left, row.y_left)
    if rows.empty:
        style.placeholder(ax, "too few checkpoints to look beyond compute")
    else:
        ax.axhline(0, color="#444444", linewidth=0.6, zorder=1)
        ax.axvline(0, color="#444444", linewidth=0.6, zorder=1)
        ax.set_xlabel("in-context score, residual")
        ax.set_ylabel(f"mean {tables.metric}, residual")
        looks.colorbar(figure, ax)
        looks.key(figure, rows)

    words = words_of(result, tables)
    caption = (
        "**In-context learning beyond compute.** What is left of both mean scores when an effect of each size and curves "
        "in tokens are taken away: checkpoints whose in-context score is higher than their size and duration explain "
        f"lie to the right. Recipe `{tables.main}`. {words}"
    )
    alt = f"Scatter plot of residuals of in-context scores and of mean {tables.metric}. {words}"
    drawn = marks(rows, x=rows["x_left"], y=rows["y_left"], low=None, high=None)
    return Drawn(figure, "In-context learning against retrieval beyond compute", drawn, caption, alt)


def words_of(result: pd.Series | None, tables: Tables) -> str:
    if result is None or result["status"] != "ok":
        return f"Nothing can be told: {'no checkpoint has both scores' if result is None else result['reason']}."
    r = interval(result["value"], result["low"], result["high"], 2)
    return (
        f"Partial r = {r} ({tables.percent} interval, p = {number(result['p'])}, {result['df']:g} degrees of freedom)."
    )
